package conformance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// An api is one entry of rest-api-spec/api: how clients build its requests.
type api struct {
	name  string
	paths []apiPath
	lines bool // the body is lines of JSON
	body  bool
}

type apiPath struct {
	template string
	parts    []string
	methods  []string
}

// parseAPI reads a file of rest-api-spec/api. Up to 7.3 there is one list of
// methods for all paths.
func parseAPI(text []byte) (*api, error) {
	var spec map[string]struct {
		Methods []string `json:"methods"`
		URL     struct {
			Paths []json.RawMessage `json:"paths"`
		} `json:"url"`
		Body *struct {
			Serialize string `json:"serialize"`
		} `json:"body"`
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return nil, err
	}
	for name, s := range spec {
		a := &api{name: name, body: s.Body != nil, lines: s.Body != nil && s.Body.Serialize == "bulk"}
		for _, raw := range s.URL.Paths {
			var p struct {
				Path    string   `json:"path"`
				Methods []string `json:"methods"`
			}
			if raw[0] == '"' {
				if err := json.Unmarshal(raw, &p.Path); err != nil {
					return nil, err
				}
				p.Methods = s.Methods
			} else if err := json.Unmarshal(raw, &p); err != nil {
				return nil, err
			}
			a.paths = append(a.paths, apiPath{p.Path, partsOf(p.Path), p.Methods})
		}
		if len(a.paths) == 0 {
			return nil, fmt.Errorf("%s has no paths", name)
		}
		return a, nil
	}
	return nil, fmt.Errorf("no API in it")
}

func partsOf(template string) []string {
	var parts []string
	for _, s := range strings.Split(template, "/") {
		if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
			parts = append(parts, s[1:len(s)-1])
		}
	}
	return parts
}

// A param is one argument of a call.
type param struct{ name, value string }

// build chooses the path with the most parts that are given and returns method
// and target; what is no part goes into the query.
func (a *api) build(params []param, hasBody bool) (method, target string, err error) {
	given := map[string]string{}
	for _, p := range params {
		given[p.name] = p.value
	}
	var best *apiPath
	for i := range a.paths {
		p := &a.paths[i]
		if slices.ContainsFunc(p.parts, func(part string) bool { _, ok := given[part]; return !ok }) {
			continue
		}
		if best == nil || len(p.parts) > len(best.parts) {
			best = p
		}
	}
	if best == nil {
		return "", "", fmt.Errorf("%s: no path can be built of these arguments", a.name)
	}
	var path []string
	for _, s := range strings.Split(best.template, "/") {
		if strings.HasPrefix(s, "{") {
			s = escape(given[s[1:len(s)-1]])
		}
		path = append(path, s)
	}
	query := []string{}
	for _, p := range params {
		if !slices.Contains(best.parts, p.name) {
			query = append(query, url.QueryEscape(p.name)+"="+url.QueryEscape(p.value))
		}
	}
	target = strings.Join(path, "/")
	if len(query) > 0 {
		target += "?" + strings.Join(query, "&")
	}
	return a.method(best, hasBody), target, nil
}

// escape leaves the comma alone, which separates names.
func escape(part string) string {
	return strings.ReplaceAll(url.PathEscape(part), "%2C", ",")
}

// method is POST rather than GET for a request with a body, and for documents
// with an id PUT, as clients do.
func (a *api) method(p *apiPath, hasBody bool) string {
	withID := slices.Contains(p.parts, "id")
	switch {
	case (a.name == "index" || a.name == "create") && withID && slices.Contains(p.methods, "PUT"):
		return "PUT"
	case a.name == "index" && slices.Contains(p.methods, "POST"):
		return "POST"
	case hasBody && p.methods[0] == "GET" && slices.Contains(p.methods, "POST"):
		return "POST"
	}
	return p.methods[0]
}
