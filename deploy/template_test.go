// Package deploy_test holds what is deployed to its rules: the templates, the user data, the script, the workflows. It needs
// neither AWS nor its tools.
package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/awslabs/goformation/v7/schema"
	"go.yaml.in/yaml/v3"
)

// files are the templates, by the names the tests use. The last is SAM's, and deploys beside the other three.
var files = map[string]string{
	"network": "stack/network.yaml",
	"data":    "stack/data.yaml",
	"app":     "stack/app.yaml",
	"lambda":  "../template.yaml",
}

// object is a YAML mapping; in a template's tree there are objects, []any, string, int, float64 and bool. Functions are in
// their long form: !Ref x is {"Ref": "x"}, !Sub x is {"Fn::Sub": "x"}.
type object = map[string]any

type template struct {
	name, text string
	tree       object
}

// templates is the whole deployment.
type templates map[string]*template

func readFiles(t testing.TB) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for name, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) && name == "lambda" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

func parse(texts map[string]string) (templates, error) {
	all := templates{}
	for name, text := range texts {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(text), &node); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		value, err := plain(node.Content[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		tree, _ := value.(object)
		all[name] = &template{name, text, tree}
	}
	return all, nil
}

// with is the deployment with another text for one of its templates.
func (all templates) with(name, text string) (templates, error) {
	one, err := parse(map[string]string{name: text})
	changed := maps.Clone(all)
	changed[name] = one[name]
	return changed, err
}

// plain turns a node into a tree. Aliases are refused: CloudFormation does not promise to read them.
func plain(n *yaml.Node) (value any, err error) {
	switch n.Kind {
	case yaml.AliasNode:
		return nil, fmt.Errorf("line %d: an alias", n.Line)
	case yaml.MappingNode:
		m := object{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := m[key]; twice {
				return nil, fmt.Errorf("line %d: %s twice", n.Content[i].Line, key)
			}
			if m[key], err = plain(n.Content[i+1]); err != nil {
				return nil, err
			}
		}
		value = m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := plain(c)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		value = list
	default:
		if strings.HasPrefix(n.Tag, "!!") {
			err = n.Decode(&value)
		} else {
			value = n.Value
		}
	}
	switch tag := n.Tag; {
	case err != nil || strings.HasPrefix(tag, "!!"):
	case tag == "!Ref" || tag == "!Condition":
		value = object{tag[1:]: value}
	case tag == "!GetAtt":
		if s, ok := value.(string); ok {
			resource, attribute, _ := strings.Cut(s, ".")
			value = object{"Fn::GetAtt": []any{resource, attribute}}
		} else {
			value = object{"Fn::GetAtt": value}
		}
	default:
		value = object{"Fn::" + tag[1:]: value}
	}
	return value, err
}

// at follows a path: a key of an object, an index of a list, or key=value for the object of a list that says so.
func at(tree any, path string) any {
	for _, step := range strings.Split(path, "/") {
		switch v := tree.(type) {
		case object:
			tree = v[step]
		case []any:
			tree = nil
			key, want, named := strings.Cut(step, "=")
			index, err := strconv.Atoi(step)
			for i, item := range v {
				o, _ := item.(object)
				if named && fmt.Sprint(o[key]) == want || !named && err == nil && i == index {
					tree = item
					break
				}
			}
		default:
			return nil
		}
	}
	return tree
}

// section is Parameters, Mappings, Conditions, Resources or Outputs.
func (t *template) section(name string) object { return asObject(t.tree[name]) }

func asObject(v any) object { o, _ := v.(object); return o }
func asString(v any) string { s, _ := v.(string); return s }
func asList(v any) []any {
	if l, ok := v.([]any); ok || v == nil {
		return l
	}
	return []any{v}
}

// ofType visits the resources of one type in the order of their names.
func (t *template) ofType(kind string, visit func(id string, resource object)) {
	for _, id := range slices.Sorted(maps.Keys(t.section("Resources"))) {
		if r := asObject(t.section("Resources")[id]); r["Type"] == kind {
			visit(id, r)
		}
	}
}

// walk visits every value of a tree, the outer ones first.
func walk(v any, path string, visit func(path string, v any)) {
	visit(path, v)
	switch v := v.(type) {
	case object:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walk(v[k], path+"/"+k, visit)
		}
	case []any:
		for i, item := range v {
			walk(item, path+"/"+strconv.Itoa(i), visit)
		}
	}
}

// eval is what a value comes to with the parameters' defaults and these in their place: parameters, conditions and
// mappings are followed, references to resources stay as they are.
func (t *template) eval(v any, given map[string]string) any {
	o, ok := v.(object)
	if !ok || len(o) != 1 {
		return v
	}
	if name, ok := o["Ref"].(string); ok {
		p, isParameter := t.section("Parameters")[name].(object)
		if value, ok := given[name]; ok && isParameter {
			return value
		}
		if isParameter {
			return p["Default"]
		}
	}
	if args, ok := o["Fn::If"].([]any); ok && len(args) == 3 {
		if t.holds(t.section("Conditions")[asString(args[0])], given) {
			return t.eval(args[1], given)
		}
		return t.eval(args[2], given)
	}
	if args, ok := o["Fn::FindInMap"].([]any); ok && len(args) == 3 {
		return at(t.section("Mappings"), fmt.Sprintf("%v/%v/%v", t.eval(args[0], given), t.eval(args[1], given), t.eval(args[2], given)))
	}
	return v
}

func (t *template) holds(condition any, given map[string]string) bool {
	o := asObject(condition)
	switch {
	case o["Fn::Equals"] != nil:
		args := asList(o["Fn::Equals"])
		return fmt.Sprint(t.eval(args[0], given)) == fmt.Sprint(t.eval(args[1], given))
	case o["Fn::Not"] != nil:
		return !t.holds(asList(o["Fn::Not"])[0], given)
	case o["Fn::Or"] != nil:
		return slices.ContainsFunc(asList(o["Fn::Or"]), func(one any) bool { return t.holds(one, given) })
	case o["Condition"] != nil:
		return t.holds(t.section("Conditions")[asString(o["Condition"])], given)
	}
	panic(fmt.Sprintf("%s: a condition that the tests do not know: %v", t.name, condition))
}

// isFunction is whether a value is only known when it is deployed.
func isFunction(v any) bool {
	o, ok := v.(object)
	if !ok || len(o) != 1 {
		return false
	}
	for k := range o {
		return k == "Ref" || k == "Condition" || strings.HasPrefix(k, "Fn::")
	}
	return false
}

// definitions are goformation's JSON schemas of all resources of CloudFormation and SAM, by type.
// They are read only when asked for: the user data's stand-ins are this program too.
var definitions = sync.OnceValue(func() map[string]json.RawMessage {
	var s struct {
		Definitions map[string]json.RawMessage `json:"definitions"`
	}
	if err := json.Unmarshal([]byte(schema.SamSchema), &s); err != nil {
		panic(err)
	}
	return s.Definitions
})

// shape is the part of JSON Schema that these definitions use.
type shape struct {
	Type                 any               `json:"type"`
	Ref                  string            `json:"$ref"`
	Properties           map[string]*shape `json:"properties"`
	PatternProperties    map[string]*shape `json:"patternProperties"`
	AdditionalProperties any               `json:"additionalProperties"`
	Required             []string          `json:"required"`
	Items                *shape            `json:"items"`
	AnyOf                []*shape          `json:"anyOf"`
	Enum                 []any             `json:"enum"`
}

var shapes = map[string]*shape{}

func definition(name string) *shape {
	s, known := shapes[name]
	if raw, ok := definitions()[name]; !known && ok {
		s = &shape{}
		if err := json.Unmarshal(raw, s); err != nil {
			panic(err)
		}
		shapes[name] = s
	}
	return s
}

// fits reports where v is not of the shape. A scalar fits where any scalar does, for CloudFormation converts them; what is
// only known when it is deployed fits everywhere.
func (s *shape) fits(v any, path string, report func(string)) {
	if s == nil || v == nil || isFunction(v) {
		return
	}
	if s.Ref != "" {
		definition(strings.TrimPrefix(s.Ref, "#/definitions/")).fits(v, path, report)
		return
	}
	if len(s.AnyOf) > 0 {
		for _, one := range s.AnyOf {
			wrong := false
			one.fits(v, path, func(string) { wrong = true })
			if !wrong {
				return
			}
		}
		report(path + " fits none of its forms")
		return
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		report(fmt.Sprintf("%s is %v, not one of %v", path, v, s.Enum))
	}
	mayBe := func(kinds ...string) bool {
		for _, k := range asList(s.Type) {
			if slices.Contains(kinds, asString(k)) {
				return true
			}
		}
		return s.Type == nil
	}
	switch v := v.(type) {
	case object:
		if !mayBe("object") {
			report(fmt.Sprintf("%s is an object, not %v", path, s.Type))
			return
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				report(path + " lacks " + name)
			}
		}
		for name, value := range v {
			next := s.Properties[name]
			for pattern, other := range s.PatternProperties {
				if next == nil && regexp.MustCompile(pattern).MatchString(name) {
					next = other
				}
			}
			if next == nil && s.AdditionalProperties == false {
				report(path + " has no " + name)
			}
			next.fits(value, path+"/"+name, report)
		}
	case []any:
		if !mayBe("array") {
			report(fmt.Sprintf("%s is a list, not %v", path, s.Type))
			return
		}
		for i, item := range v {
			s.Items.fits(item, path+"/"+strconv.Itoa(i), report)
		}
	default:
		if !mayBe("string", "number", "boolean", "integer") {
			report(fmt.Sprintf("%s is %v, not %v", path, v, s.Type))
		}
	}
}
