package catalogue

import (
	"regexp"
	"strings"
)

// Dates in scripts of newer clients, on 5.x: doc['d'].value is a number there, and
// the date stands at doc['d'].date.

// dateMember matches a member of a date's value in a script.
var dateMember = regexp.MustCompile(`\bdoc\[\s*(?:'([^']*)'|"([^"]*)")\s*\]\.value\.(toInstant\(\)\.toEpochMilli\(\)|\w+(?:\(\))?)`)

// membersOfDates are what 5.x calls the members of a date that it has, by the
// name that a script uses from 6.0 on.
var membersOfDates = map[string]string{
	"year": "year", "monthOfYear": "monthOfYear", "monthValue": "monthOfYear", "dayOfMonth": "dayOfMonth", "dayOfYear": "dayOfYear",
	"hour": "hourOfDay", "hourOfDay": "hourOfDay", "minute": "minuteOfHour", "minuteOfHour": "minuteOfHour", "minuteOfDay": "minuteOfDay",
	"second": "secondOfMinute", "secondOfMinute": "secondOfMinute", "secondOfDay": "secondOfDay", "millisOfSecond": "millisOfSecond",
	"millisOfDay": "millisOfDay", "millis": "millis", "weekOfWeekyear": "weekOfWeekyear", "weekyear": "weekyear", "centuryOfEra": "centuryOfEra",
	"yearOfCentury": "yearOfCentury", "yearOfEra": "yearOfEra", "era": "era",
}

// datesInScript lets a script read the members of dates as 5.x has them. What is
// a date the mapping says; other members, and dates as a whole, stay.
func datesInScript(x *Exchange, n *Node) error {
	if lang := n.Get("lang"); lang.Exists() && lang.String() != "painless" {
		return nil
	}
	var dates map[string]bool
	var failed error
	editSource(n, func(text string) string {
		return dateMember.ReplaceAllStringFunc(text, func(found string) string {
			m := dateMember.FindStringSubmatch(found)
			field := m[1] + m[2]
			if dates == nil && failed == nil {
				dates, failed = datesOf(x)
			}
			name := memberOfDate(m[3])
			if name == "" || !dates[field] {
				return found
			}
			return strings.TrimSuffix(found, "value."+m[3]) + "date." + name
		})
	})
	return failed
}

// memberOfDate is what 5.x calls a member of a date, "" if it has none.
func memberOfDate(member string) string {
	if member == "toInstant().toEpochMilli()" {
		return "millis"
	}
	name, isCall := strings.CutSuffix(member, "()")
	if isCall {
		rest, isGetter := strings.CutPrefix(name, "get")
		if !isGetter || rest == "" {
			return ""
		}
		name = strings.ToLower(rest[:1]) + rest[1:]
	}
	return membersOfDates[name]
}

// datesOf are the fields that are dates in all the indices that are searched that
// have them.
func datesOf(x *Exchange) (map[string]bool, error) {
	dates := map[string]bool{}
	if x.Facts == nil {
		return dates, nil
	}
	names, err := x.Facts.Expand(x.Context(), x.Searched())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, ok, err := x.Facts.Index(x.Context(), name)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		for path, field := range f.Fields {
			was, seen := dates[path]
			dates[path] = field.Type == "date" && (was || !seen)
		}
	}
	return dates, nil
}
