package catalogue

import (
	"strings"
	"unicode"
)

// Date formats: Joda-Time's letters up to 6.x, those of java.time from 7.0 on.

// namedFormats are the formats that have a name, in the spelling that all
// versions take. All but the epochs exist with "strict_" in front, too.
var namedFormats = func() map[string]bool {
	names := map[string]bool{"epoch_millis": true, "epoch_second": true, "iso8601": true, "strict_date_optional_time_nanos": true}
	for _, n := range strings.Fields(`basic_date basic_date_time basic_date_time_no_millis basic_ordinal_date basic_ordinal_date_time
		basic_ordinal_date_time_no_millis basic_time basic_time_no_millis basic_t_time basic_t_time_no_millis basic_week_date
		basic_week_date_time basic_week_date_time_no_millis date date_hour date_hour_minute date_hour_minute_second
		date_hour_minute_second_fraction date_hour_minute_second_millis date_optional_time date_time date_time_no_millis hour
		hour_minute hour_minute_second hour_minute_second_fraction hour_minute_second_millis ordinal_date ordinal_date_time
		ordinal_date_time_no_millis time time_no_millis t_time t_time_no_millis week_date week_date_time week_date_time_no_millis
		weekyear week_year weekyear_week weekyear_week_day year year_month year_month_day`) {
		names[n], names["strict_"+n] = true, true
	}
	return names
}()

// snakeFormats gives the snake_case name for each camelCase one.
var snakeFormats = func() map[string]string {
	m := map[string]string{}
	for name := range namedFormats {
		var b strings.Builder
		upper := false
		for _, r := range name {
			switch {
			case r == '_':
				upper = true
			case upper:
				b.WriteRune(unicode.ToUpper(r))
				upper = false
			default:
				b.WriteRune(r)
			}
		}
		if camel := b.String(); camel != name {
			m[camel] = name
		}
	}
	return m
}()

// eachFormat changes each of the alternatives of a date format.
func eachFormat(format string, change func(string) string) string {
	parts := strings.Split(format, "||")
	for i, p := range parts {
		parts[i] = change(p)
	}
	return strings.Join(parts, "||")
}

// snakeDateFormat gives the formats with a camelCase name, which 8.0 refuses,
// their snake_case name; all versions know it.
func snakeDateFormat(format string) string {
	return eachFormat(format, func(p string) string {
		if snake, ok := snakeFormats[p]; ok {
			return snake
		}
		return p
	})
}

// javaDateFormat writes a Joda format in the letters of java.time. Letters
// without a counterpart (C, the century) stay: the cluster says so.
func javaDateFormat(format string) string {
	if strings.HasPrefix(format, "8") {
		return format // 6.8's mark for a format that is in java.time's letters already
	}
	return eachFormat(format, func(p string) string {
		return changeLetters(p, func(letter byte, n int) string {
			switch {
			case letter == 'Z' && n == 1:
				return "XX"
			case letter == 'Z' && n == 2:
				return "XXX"
			case letter == 'Z':
				return "VV"
			case letter == 'Y':
				return strings.Repeat("y", n)
			case letter == 'x':
				return strings.Repeat("Y", n)
			}
			return ""
		})
	})
}

// jodaDateFormat writes a format of java.time in Joda's letters.
func jodaDateFormat(format string) string {
	return eachFormat(strings.TrimPrefix(format, "8"), func(p string) string {
		switch p {
		case "strict_date_optional_time_nanos", "iso8601":
			return "strict_date_optional_time"
		}
		return changeLetters(p, func(letter byte, n int) string {
			switch letter {
			case 'u':
				return strings.Repeat("y", n)
			case 'Y':
				return strings.Repeat("x", n)
			case 'X', 'x':
				if n >= 3 {
					return "ZZ"
				}
				return "Z"
			case 'V':
				return "ZZZ"
			}
			return ""
		})
	})
}

// changeLetters changes the runs of pattern letters outside of quotes; a run for
// which change gives "" stays.
func changeLetters(p string, change func(letter byte, n int) string) string {
	if _, camel := snakeFormats[p]; camel || namedFormats[p] {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); {
		c := p[i]
		if c == '\'' {
			end := strings.IndexByte(p[i+1:], '\'')
			if end < 0 {
				b.WriteString(p[i:])
				break
			}
			b.WriteString(p[i : i+end+2])
			i += end + 2
			continue
		}
		n := 1
		for i+n < len(p) && p[i+n] == c {
			n++
		}
		if s := change(c, n); s != "" {
			b.WriteString(s)
		} else {
			b.WriteString(p[i : i+n])
		}
		i += n
	}
	return b.String()
}
