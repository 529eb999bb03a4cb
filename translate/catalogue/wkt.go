package catalogue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Shapes as text (well-known text), which older clusters read as GeoJSON only.

func init() {
	translate.Register(
		&Change{
			ID: "QRY-20", Name: "ShapesCanBeText", Since: V(6, 2),
			Doc:       `A shape can be given as well-known text, "POINT (2.35 48.85)".`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "shapes as text in documents, which the older cluster refuses", Request: []Rule{
				at(translate.ClauseField("geo_shape"), func(x *Exchange, n *Node) error {
					text := n.Get("shape")
					if text.Type != gjson.String {
						return nil
					}
					shape, err := geoJSON(text.String())
					if err != nil {
						return x.Refuse("the shape %q (%v)", text.String(), err)
					}
					n.Set("shape", shape)
					return nil
				}),
			}},
		},
	)
}

// geoJSON writes well-known text as GeoJSON in Elasticsearch's types.
func geoJSON(text string) (string, error) {
	r := &wkt{tokens: wktTokens(text)}
	shape, err := r.shape(0)
	if err == nil && len(r.tokens) > 0 {
		err = fmt.Errorf("%q follows the shape", r.tokens[0])
	}
	return shape, err
}

type wkt struct{ tokens []string }

// wktTokens cuts text into words, numbers, parentheses and commas.
func wktTokens(text string) []string {
	var tokens []string
	word := -1
	end := func(i int) {
		if word >= 0 {
			tokens = append(tokens, text[word:i])
			word = -1
		}
	}
	for i, c := range text {
		switch {
		case c == '(' || c == ')' || c == ',':
			end(i)
			tokens = append(tokens, string(c))
		case unicode.IsSpace(c):
			end(i)
		case word < 0:
			word = i
		}
	}
	end(len(text))
	return tokens
}

func (r *wkt) next() string {
	if len(r.tokens) == 0 {
		return ""
	}
	t := r.tokens[0]
	r.tokens = r.tokens[1:]
	return t
}

func (r *wkt) expect(token string) error {
	if t := r.next(); t != token {
		return fmt.Errorf("%q stands where %q is expected", t, token)
	}
	return nil
}

// wktDepths says how deep the points of a shape stand in lists.
var wktDepths = map[string]int{"point": 0, "linestring": 1, "multipoint": 1, "polygon": 2, "multilinestring": 2, "multipolygon": 3}

func (r *wkt) shape(depth int) (string, error) {
	kind := strings.ToLower(r.next())
	switch kind {
	case "bbox", "envelope": // left, right, top, bottom
		points, err := r.list(func() (string, error) { return r.number() })
		if err != nil || len(points) != 4 {
			return "", errors.Join(errors.New("a BBOX has four numbers"), err)
		}
		return `{"type":"envelope","coordinates":[[` + points[0] + "," + points[2] + "],[" + points[1] + "," + points[3] + "]]}", nil
	case "geometrycollection":
		if depth > 20 {
			return "", errors.New("collections are nested too deeply")
		}
		shapes, err := r.list(func() (string, error) { return r.shape(depth + 1) })
		return `{"type":"geometrycollection","geometries":[` + strings.Join(shapes, ",") + "]}", err
	}
	lists, known := wktDepths[kind]
	if !known {
		return "", fmt.Errorf("%q is no kind of shape", kind)
	}
	if len(r.tokens) > 0 && (strings.EqualFold(r.tokens[0], "z") || strings.EqualFold(r.tokens[0], "m")) {
		r.next()
	}
	coordinates, err := r.coordinates(lists)
	if kind == "point" && err == nil {
		coordinates = strings.TrimSuffix(strings.TrimPrefix(coordinates, "["), "]")
	}
	return `{"type":"` + kind + `","coordinates":` + coordinates + "}", err
}

// coordinates reads points in lists; a single point stands in parentheses, too.
func (r *wkt) coordinates(lists int) (string, error) {
	inner := r.point
	if lists > 1 {
		inner = func() (string, error) { return r.coordinates(lists - 1) }
	}
	all, err := r.list(inner)
	return "[" + strings.Join(all, ",") + "]", err
}

func (r *wkt) list(one func() (string, error)) ([]string, error) {
	var all []string
	if err := r.expect("("); err != nil {
		return nil, err
	}
	for {
		v, err := one()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
		switch t := r.next(); t {
		case ",":
		case ")":
			return all, nil
		default:
			return nil, fmt.Errorf("%q stands where a comma or a parenthesis is expected", t)
		}
	}
}

// point reads "2.35 48.85"; those of a MULTIPOINT may stand in parentheses.
func (r *wkt) point() (string, error) {
	wrapped := len(r.tokens) > 0 && r.tokens[0] == "("
	if wrapped {
		r.next()
	}
	var numbers []string
	for len(r.tokens) > 0 && r.tokens[0] != "," && r.tokens[0] != ")" {
		n, err := r.number()
		if err != nil {
			return "", err
		}
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 {
		return "", errors.New("a point has two numbers")
	}
	if wrapped {
		if err := r.expect(")"); err != nil {
			return "", err
		}
	}
	return "[" + strings.Join(numbers, ",") + "]", nil
}

func (r *wkt) number() (string, error) {
	t := r.next()
	f, err := strconv.ParseFloat(t, 64)
	if err != nil {
		return "", fmt.Errorf("%q is no number", t)
	}
	return strconv.FormatFloat(f, 'f', -1, 64), nil
}
