import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Function;

/** What the programs have in common: a step prints one line of JSON with what the application got. */
final class Steps {
    /** JSON that is printed as it is. */
    static final class Raw {
        final String json;

        Raw(String json) {
            this.json = json;
        }
    }

    private final Function<Object, Object> printable;
    private final Function<Throwable, Map<String, Object>> describe;

    /**
     * printable makes of the library's answers what can be printed; describe makes of the library's exceptions what is
     * to be compared, and null of others.
     */
    Steps(Function<Object, Object> printable, Function<Throwable, Map<String, Object>> describe) {
        this.printable = printable;
        this.describe = describe;
    }

    /** A call that succeeds. */
    void step(String name, Callable<Object> run) {
        try {
            tell(name, "result", json(run.call()));
        } catch (Throwable e) {
            tell(name, "failed", json(told(e)));
        }
    }

    /** A call that has to fail. */
    void fails(String name, Callable<Object> run) {
        try {
            tell(name, "failed", json(map("succeeded", run.call())));
        } catch (Throwable e) {
            tell(name, describe.apply(e) == null ? "failed" : "result", json(told(e)));
        }
    }

    private Map<String, Object> told(Throwable e) {
        Map<String, Object> known = describe.apply(e);
        if (known != null) {
            return known;
        }
        List<Object> trace = new ArrayList<>();
        for (Throwable cause = e; cause != null; cause = cause.getCause()) {
            trace.add(cause.toString());
        }
        return map("unexpected", trace, "at", Arrays.stream(e.getStackTrace()).limit(6).map(Object::toString).toList());
    }

    private static void tell(String name, String outcome, String json) {
        System.out.println("{\"step\": " + quote(name) + ", \"" + outcome + "\": " + json + "}");
    }

    static Map<String, Object> map(Object... namesAndValues) {
        Map<String, Object> m = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            m.put(namesAndValues[i].toString(), namesAndValues[i + 1]);
        }
        return m;
    }

    String json(Object value) {
        if (value == null || value instanceof Boolean || value instanceof Integer || value instanceof Long || value instanceof Short) {
            return String.valueOf(value);
        }
        if (value instanceof Double || value instanceof Float) {
            double d = ((Number) value).doubleValue();
            return Double.isFinite(d) ? value.toString() : quote(value.toString());
        }
        if (value instanceof Raw) {
            return ((Raw) value).json;
        }
        if (value instanceof CharSequence || value instanceof Enum) {
            return quote(value.toString());
        }
        if (value instanceof Map) {
            StringBuilder b = new StringBuilder("{");
            ((Map<?, ?>) value).forEach((k, v) -> b.append(b.length() > 1 ? ", " : "").append(quote(k.toString())).append(": ").append(json(v)));
            return b.append("}").toString();
        }
        if (value instanceof Object[]) {
            return json(Arrays.asList((Object[]) value));
        }
        if (value instanceof Collection) {
            StringBuilder b = new StringBuilder("[");
            ((Collection<?>) value).forEach(v -> b.append(b.length() > 1 ? ", " : "").append(json(v)));
            return b.append("]").toString();
        }
        Object other = printable.apply(value);
        if (other == value) {
            throw new IllegalArgumentException("no JSON of a " + value.getClass());
        }
        return json(other);
    }

    private static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') {
                b.append('\\').append(c);
            } else if (c < ' ') {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }

    // The documents of the day.

    static final String ANALYSIS = "{\"filter\": {\"small\": {\"type\": \"stop\", \"stopwords\": [\"the\", \"of\", \"a\"]}},"
        + "\"analyzer\": {\"titles\": {\"type\": \"custom\", \"tokenizer\": \"standard\", \"filter\": [\"lowercase\", \"small\"]}}}";

    static final String SETTINGS = "{\"number_of_shards\": 1, \"number_of_replicas\": 0, \"analysis\": " + ANALYSIS + "}";

    static final String MAPPING = "{\"properties\": {"
        + "\"title\": {\"type\": \"text\", \"analyzer\": \"titles\", \"fields\": {\"raw\": {\"type\": \"keyword\", \"ignore_above\": 100}}},"
        + "\"author\": {\"type\": \"keyword\"}, \"year\": {\"type\": \"integer\"}, \"price\": {\"type\": \"double\"}, \"tags\": {\"type\": \"keyword\"},"
        + "\"published\": {\"type\": \"date\", \"format\": \"yyyy-MM-dd\"}, \"place\": {\"type\": \"geo_point\"}, \"suggest\": {\"type\": \"completion\"},"
        + "\"reviews\": {\"type\": \"nested\", \"properties\": {\"by\": {\"type\": \"keyword\"}, \"stars\": {\"type\": \"byte\"}}}}}";

    static final List<Map<String, Object>> SHELF = List.of(
        book("The Left Hand of Darkness", "le guin", 1969, 8.5, "1969-03-01", List.of("winter", "envoy"), map("by", "ann", "stars", 5), map("by", "bob", "stars", 3)),
        book("A Wizard of Earthsea", "le guin", 1968, 6.0, "1968-11-05", List.of("island", "magic"), map("by", "cid", "stars", 4)),
        book("Solaris", "lem", 1961, 7.25, "1961-06-01", List.of("ocean")),
        book("The Cyberiad", "lem", 1965, 9.0, "1965-01-20", List.of("robot", "magic"), map("by", "ann", "stars", 4), map("by", "dee", "stars", 5)),
        book("Roadside Picnic", "strugatsky", 1972, 5.75, "1972-07-15", List.of("zone"), map("by", "bob", "stars", 2)));

    private static Map<String, Object> book(String title, String author, int year, double price, String published, List<String> tags, Object... reviews) {
        return map("title", title, "author", author, "year", year, "price", price, "tags", tags, "published", published, "place", map("lat", 45.5, "lon", -122.5),
            "suggest", map("input", List.of(title), "weight", year - 1900), "reviews", Arrays.asList(reviews));
    }

    private static final String[] WORDS = {"amber", "birch", "cedar", "delta", "ember", "fjord", "grove"};

    /** Document number n of the long list. */
    static Map<String, Object> event(int n) {
        return map("number", n, "word", WORDS[n % WORDS.length], "at", LocalDate.of(2020, 1, 1).plusDays(n / 24).toString(), "value", n * 37 % 101 + 0.5);
    }

}
