package catalogue

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Headers, media types, parameters that all APIs share, and what tells clients
// with whom they speak.

func init() {
	translate.Register(
		&Change{
			ID: "HTTP-01", Name: "RootShowsTheClientsVersion",
			Doc:       "GET / shows the version that the clients of the gateway speak; drivers and tools choose their syntax by it.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.InfoAnswer, showClientsVersion)}},
		},
		&Change{
			ID: "HTTP-02", Name: "ProductHeaderAppeared", Since: V(7, 14),
			Doc:       "Every answer has the header X-elastic-product: Elasticsearch; clients from 7.14 on insist on it.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
				x.AnswerHeader.Set("X-Elastic-Product", "Elasticsearch")
				x.Edited()
				return nil
			})}},
		},
		&Change{
			ID: "HTTP-06", Name: "MediaTypesAreThoseOfTheCluster", Crossing: true,
			Doc:       "Clients of 8.x speak application/vnd.elasticsearch+json;compatible-with=8, which up to 7.10 answers 406; the cluster gets plain types, the client the type that it asked for.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, plainTypes)}, Response: []Rule{at(translate.AnswerHead, vendoredAnswer)}},
		},
		&Change{
			ID: "HTTP-07", Name: "AnswersLostTheirCharset", Since: V(8, 0),
			Doc: "Answers have the type application/json; it was application/json; charset=UTF-8.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
				if strings.EqualFold(esapi.First(x.AnswerHeader, "Content-Type"), "application/json") {
					x.AnswerHeader.Set("Content-Type", "application/json; charset=UTF-8")
					x.Edited()
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, func(x *Exchange, _ *Node) error {
				if strings.EqualFold(esapi.First(x.AnswerHeader, "Content-Type"), "application/json; charset=UTF-8") {
					x.AnswerHeader.Set("Content-Type", "application/json")
					x.Edited()
				}
				return nil
			})}},
		},
		&Change{
			ID: "HTTP-09", Name: "ContentTypeBecameStrict", Since: V(6, 0),
			Doc:       "A body needs the right Content-Type; 5.x guesses it from the body.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, guessContentType)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, refuseContentType)}},
		},
		&Change{
			ID: "HTTP-12", Name: "BodyInTheURLBecameABody", Crossing: true,
			Doc:       "A body in the parameter source is sent as a body: from 6.0 on it would need source_content_type, too.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{withParams(translate.RequestHead, sourceToBody)}},
		},
		&Change{
			ID: "HTTP-15", Name: "BooleanParametersBecameStrict", Since: V(6, 0),
			Doc:       "A boolean parameter is true or false; 1, on and yes are refused.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{withParams(translate.RequestHead, strictBooleans)}},
			NewClient: nothing,
		},
		&Change{
			ID: "HTTP-17", Name: "UnknownRoutesAnswerJSON", Since: V(6, 0),
			Doc:       `An unknown path answers {"error": "no handler found …"}, a wrong method 405; 5.x answers both with 400 and a text.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{onErrors(noHandlerText)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, noHandlerJSON)}},
		},
		&Change{
			ID: "HTTP-25", Name: "NodesHaveTheGatewaysAddress",
			Doc:       "Clients that sniff ask the nodes for their addresses; they are told the gateway's.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.NodeInfo, gatewayAddress)}},
		},
		&Change{
			ID: "HTTP-28", Name: "LocationLostItsType", Since: V(7, 0),
			Doc:       "The Location of a new document is /books/_doc/1, not /books/book/1.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, typedLocation)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.AnswerHead, typedLocation)}},
		},
		&Change{
			ID: "PAR-04", Name: "HiddenIndicesAppeared", Since: V(7, 7),
			Doc:       "expand_wildcards takes hidden: indices that patterns do not match otherwise.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestHead, func(x *Exchange, _ *Node) error {
				given := x.Params.Get("expand_wildcards")
				if !strings.Contains(given, "hidden") {
					return nil
				}
				kept := slices.DeleteFunc(strings.Split(given, ","), func(s string) bool { return s == "hidden" })
				if len(kept) == 0 {
					kept = []string{"none"} // hidden alone matches nothing: it goes with open or closed
				}
				x.Params.Set("expand_wildcards", strings.Join(kept, ","))
				return nil
			})}},
		},
		&Change{
			ID: "PAR-06", Name: "DeletesCanIgnoreMissingIndices", Since: V(6, 0),
			Doc:       "The deletion of an index takes ignore_unavailable.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{onAPIs(translate.AnswerHead, []string{"indices.delete"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.delete" && x.Status == http.StatusNotFound && x.AskedParams.Bool("ignore_unavailable") {
					x.Status = http.StatusOK
					x.Replacement = []byte(`{"acknowledged":true}`)
					x.Edited()
				}
				return nil
			})}},
		},
		&Change{
			ID: "CLU-16", Name: "TaskParametersWereRenamed", Since: V(6, 0),
			Doc: "The parameters node_id and parent_task of the tasks are called nodes and parent_task_id.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				renameParam([]string{"tasks.list", "tasks.cancel", "cat.tasks"}, "node_id", "nodes"),
				renameParam([]string{"tasks.list", "tasks.cancel", "cat.tasks"}, "parent_task", "parent_task_id"),
				dropParams([]string{"tasks.list", "tasks.cancel", "cat.tasks"}, "parent_node"),
			}},
			NewClient: nothing,
		},
	)
	translate.Register(paramChanges()...)
}

// luceneVersions are those of the last releases, by the version's Short.
var luceneVersions = map[string]string{"5.6": "6.6.1", "6.8": "7.7.3", "7.10": "8.7.0", "7.17": "8.11.3", "8.7": "9.5.0", "8.17": "9.12.0"}

// showClientsVersion makes the root document that a cluster of the client's
// version shows.
func showClientsVersion(x *Exchange, n *Node) error {
	v := n.Get("version")
	if !v.IsObject() || v.Get("number").String() == x.Client.String() {
		return nil
	}
	get := func(key, otherwise string) string {
		if m := v.Get(key); m.Exists() {
			return m.Raw
		}
		return translate.Quote(otherwise)
	}
	var o object
	o.set("number", translate.Quote(x.Client.String()))
	if x.Client.AtLeast(V(6, 3)) {
		o.set("build_flavor", get("build_flavor", "default"))
		o.set("build_type", get("build_type", "tar"))
	}
	for _, key := range []string{"build_hash", "build_date", "build_snapshot"} {
		if m := v.Get(key); m.Exists() {
			o.set(key, m.Raw)
		}
	}
	lucene := luceneVersions[x.Client.Short()]
	if lucene == "" {
		lucene = v.Get("lucene_version").String()
	}
	o.set("lucene_version", translate.Quote(lucene))
	wire, index := "", ""
	switch x.Client.Major {
	case 6:
		wire, index = "5.6.0", "5.0.0"
	case 7:
		wire, index = "6.8.0", "6.0.0-beta1"
	case 8:
		wire, index = "7.17.0", "7.0.0"
	}
	if wire != "" {
		o.set("minimum_wire_compatibility_version", translate.Quote(wire))
		o.set("minimum_index_compatibility_version", translate.Quote(index))
	}
	n.Set("version", o.String())
	return nil
}

// vendored matches a media type of 8.x's kind.
var vendored = regexp.MustCompile(`(?i)application/vnd\.elasticsearch\+(json|x-ndjson|yaml|smile|cbor)\s*(;\s*compatible-with\s*=\s*"?\d+"?)?`)

const vendoredNote = "the client accepts 8.x's media type"

// plainTypes gives the cluster media types that all versions know.
func plainTypes(x *Exchange, _ *Node) error {
	for _, h := range []string{"Accept", "Content-Type"} {
		given := esapi.First(x.Header, h)
		if !strings.ContainsRune(given, '+') {
			continue // as of nearly all clients of old versions
		}
		plain := vendored.ReplaceAllString(given, "application/$1")
		if plain == given {
			continue
		}
		if h == "Accept" && x.Client.AtLeast(V(8, 0)) && strings.Contains(given, "+json") {
			x.Note(vendoredNote, true)
		}
		x.Header.Set(h, plain)
		x.Edited()
	}
	return nil
}

func vendoredAnswer(x *Exchange, _ *Node) error {
	if x.Noted(vendoredNote) != nil && strings.HasPrefix(esapi.First(x.AnswerHeader, "Content-Type"), "application/json") {
		x.AnswerHeader.Set("Content-Type", "application/vnd.elasticsearch+json;compatible-with=8")
		x.Edited()
	}
	return nil
}

// guessContentType gives a request the type that its body has, as 5.x finds it
// out.
func guessContentType(x *Exchange, _ *Node) error {
	given, _, _ := strings.Cut(strings.ToLower(esapi.First(x.Header, "Content-Type")), ";")
	switch strings.TrimSpace(given) {
	case "application/json", "application/x-ndjson", "application/yaml", "application/smile", "application/cbor":
		return nil
	}
	body := bytes.TrimLeft(x.RequestBody, " \t\r\n")
	guessed := "application/json"
	switch {
	case len(body) == 0 && x.Endpoint.Method != http.MethodPost && x.Endpoint.Method != http.MethodPut:
		return nil
	case x.Endpoint.HasBodyNDJSON():
		guessed = "application/x-ndjson"
	case bytes.HasPrefix(body, []byte("---")):
		guessed = "application/yaml"
	case bytes.HasPrefix(body, []byte(":)\n")):
		guessed = "application/smile"
	case len(body) > 0 && body[0] >= 0x80:
		guessed = "application/cbor"
	}
	x.Header.Set("Content-Type", guessed)
	x.Edited()
	return nil
}

// refuseContentType answers as the client's version does to a body of no known
// type, for a cluster that would guess.
func refuseContentType(x *Exchange, _ *Node) error {
	given := esapi.First(x.Header, "Content-Type")
	if len(x.RequestBody) == 0 {
		return nil
	}
	for _, known := range []string{"application/json", "application/x-ndjson", "application/yaml", "application/smile", "application/cbor", "application/vnd.elasticsearch+"} {
		if strings.HasPrefix(strings.ToLower(given), known) {
			return nil
		}
	}
	if strings.HasPrefix(given, "text/plain") && strings.HasSuffix(x.Asked.API, "scroll") {
		return nil
	}
	return &esapi.Error{Status: http.StatusNotAcceptable, Reason: "Content-Type header [" + given + "] is not supported"}
}

func sourceToBody(x *Exchange, _ *Node) error {
	if !x.Params.Has("source") || len(x.RequestBody) > 0 {
		return nil
	}
	if x.Params.Get("source") == "" {
		return nil
	}
	x.RequestBody = []byte(x.Params.Get("source"))
	contentType := x.Params.Get("source_content_type")
	if contentType == "" || vendored.MatchString(contentType) {
		contentType = "application/json"
		if x.Endpoint.HasBodyNDJSON() {
			contentType = "application/x-ndjson"
		}
	}
	x.Header.Set("Content-Type", contentType)
	x.Params.Drop("source")
	x.Params.Drop("source_content_type")
	return nil
}

// booleanParams are the URL parameters that are true or false.
var booleanParams = []string{"pretty", "human", "error_trace", "flat_settings", "v", "help", "ts", "local", "ignore_unavailable", "allow_no_indices",
	"lenient", "analyze_wildcard", "lowercase_expanded_terms", "explain", "version", "track_scores", "request_cache", "typed_keys", "realtime",
	"refresh", "detect_noop", "doc_as_upsert", "wait_for_completion", "include_defaults", "create", "order_by_name",
	"only_expunge_deletes", "flush", "force", "wait_if_ongoing", "verbose", "detailed", "active_only", "full_id", "pri",
	"dry_run", "retry_failed", "wait_for_no_relocating_shards", "include_yes_decisions", "include_disk_info", "verify", "partial",
	"include_segment_file_sizes", "ignore_idle_threads", "term_statistics", "field_statistics", "offsets", "positions", "payloads",
	"rewrite", "all_shards", "query", "fielddata", "field_data", "request", "recycler", "preserve_existing", "update_all_types"}

func strictBooleans(x *Exchange, _ *Node) error {
	for _, p := range booleanParams {
		if !x.Params.Has(p) || (p == "version" && x.Asked.API != "search") {
			continue // the version of a document is a number
		}
		switch v := x.Params.Get(p); strings.ToLower(v) {
		case "1", "on", "yes":
			x.Params.Set(p, "true")
		case "0", "off", "no":
			x.Params.Set(p, "false")
		}
	}
	return nil
}

var noHandler = regexp.MustCompile(`(?:[nN]o handler found for uri|Incorrect HTTP method for uri) \[([^\]]*)\]`)

// noHandlerText is 5.x's answer to a path that it does not have.
func noHandlerText(x *Exchange, _ *Node) error {
	if x.Asked.API != "" || (x.Status != http.StatusBadRequest && x.Status != http.StatusMethodNotAllowed) {
		return nil
	}
	if word := strings.Trim(x.Asked.Path, "/"); !strings.Contains(word, "/") && bytes.Contains(x.AnswerBody(), []byte("invalid_index_name_exception")) {
		x.Replacement = []byte(errorBody(http.StatusBadRequest, "illegal_argument_exception", "No endpoint or operation is available at ["+word+"]"))
		x.Edited()
		return nil
	}
	if found := noHandler.FindSubmatch(x.AnswerBody()); found != nil {
		a := x.NoHandler(string(found[1]))
		body, err := readAll(a)
		if err != nil {
			return err
		}
		x.Status, x.Replacement = a.Status, body
		x.AnswerHeader.Set("Content-Type", orElse(a.Header.Get("Content-Type"), "application/json; charset=UTF-8"))
		x.AnswerHeader.Del("Allow")
		x.Edited()
	}
	return nil
}

func noHandlerJSON(x *Exchange, _ *Node) error {
	word := strings.Trim(x.Asked.Path, "/")
	if x.Asked.API == "" && x.Status == http.StatusBadRequest && !strings.Contains(word, "/") &&
		bytes.Contains(x.AnswerBody(), []byte("No endpoint or operation is available at")) {
		x.Replacement = []byte(errorBody(http.StatusBadRequest, "invalid_index_name_exception", "Invalid index name ["+word+"], must not start with '_'."))
		x.Edited()
		return nil
	}
	if x.Asked.API != "" || x.Status != http.StatusBadRequest {
		return nil
	}
	uri := x.Asked.Path
	if strings.HasPrefix(esapi.First(x.AnswerHeader, "Content-Type"), "text/plain") {
		found := noHandler.FindSubmatch(x.AnswerBody())
		if found == nil {
			return nil
		}
		uri = string(found[1])
	} else if !takenForAType(x) {
		return nil
	}
	a := x.NoHandler(uri)
	body, err := readAll(a)
	if err != nil {
		return err
	}
	x.Status, x.Replacement = a.Status, body
	x.AnswerHeader.Set("Content-Type", "application/json; charset=UTF-8")
	if allow := a.Header.Get("Allow"); allow != "" {
		x.AnswerHeader.Set("Allow", allow)
	}
	x.Edited()
	return nil
}

// takenForAType reports whether 5.x has taken a path of the API with a wrong
// method for an index and a type, which no index with such a name has.
func takenForAType(x *Exchange) bool {
	if !strings.HasPrefix(x.Asked.Path, "/_") || slices.Contains(esapi.Methods(x.Asked.Path, x.Client), x.Asked.Method) {
		return false
	}
	e := gjson.GetBytes(x.AnswerBody(), "error")
	switch e.Get("type").String() {
	case "invalid_index_name_exception":
		return true
	case "parse_exception":
		return e.Get("reason").String() == "request body is required"
	case "illegal_argument_exception":
		return strings.HasPrefix(e.Get("reason").String(), "No endpoint or operation is available at [")
	}
	return false
}

func gatewayAddress(x *Exchange, n *Node) error {
	h := n.Get("http")
	address := x.GatewayAddress()
	if address == "" || !h.Get("publish_address").Exists() {
		return nil
	}
	var o object
	o.addAll(h)
	o.set("publish_address", translate.Quote(address))
	o.set("bound_address", "["+translate.Quote(address)+"]")
	n.Set("http", o.String())
	return nil
}

// typedLocation gives the address of a new document the type that the client is
// to see.
func typedLocation(x *Exchange, _ *Node) error {
	location := esapi.First(x.AnswerHeader, "Location")
	if location == "" {
		return nil
	}
	path, query, _ := strings.Cut(location, "?")
	parts := strings.SplitN(path, "/", 4)
	if !slices.Contains(documentAPIs, x.Asked.API) || len(parts) != 4 || parts[0] != "" {
		return nil
	}
	index, err := url.PathUnescape(parts[1])
	if err != nil {
		return nil
	}
	t := "_doc"
	if x.Client.Before(V(8, 0)) {
		t = shownType(x, index)
	}
	parts[2] = url.PathEscape(t)
	changed := strings.Join(parts, "/")
	if query != "" {
		changed += "?" + query
	}
	if changed != location {
		x.AnswerHeader.Set("Location", changed)
		x.Edited()
	}
	return nil
}
