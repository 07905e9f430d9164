// Package deploy_test holds what is deployed to this project's own decisions: the templates, the user data, the script, the
// workflows. It needs neither AWS nor its tools. What cfn-lint finds by itself (unknown names, wrong types, broken
// references) is left to it: the workflows run it.
package deploy_test

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// files are what is deployed, by the names that the tests use.
var files = map[string]string{
	"network": "stack/network.yaml", "data": "stack/data.yaml", "app": "stack/app.yaml", "lambda": "../template.yaml",
	"user data": "ec2/user-data.sh", "compose": "../docker-compose.yml", "haproxy": "haproxy/haproxy.cfg", "alerts": "alerts.yaml",
	"image": "../Dockerfile",
}

// stacks are the templates in the order of their deployment; the last two may come in any order.
var stacks = []string{"network", "data", "app", "lambda"}

// object is a YAML mapping. Tags are dropped: `!Ref x` is the string x, `!If [a, b, c]` a list of three.
type object = map[string]any

type deployment struct {
	text map[string]string
	tree map[string]object // the stacks only
}

func read(t testing.TB) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for name, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

func parse(t testing.TB, texts map[string]string) deployment {
	t.Helper()
	d := deployment{texts, map[string]object{}}
	for _, name := range stacks {
		d.tree[name] = parseYAML(t, texts[name])
	}
	return d
}

func parseYAML(t testing.TB, text string) (tree object) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// at follows a path of keys and of indexes of lists; nil where there is nothing.
func at(tree any, path string) any {
	for step := range strings.SplitSeq(path, "/") {
		switch v := tree.(type) {
		case object:
			tree = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(v) {
				return nil
			}
			tree = v[i]
		default:
			return nil
		}
	}
	return tree
}

// walk visits every mapping below v.
func walk(v any, visit func(object)) {
	switch v := v.(type) {
	case object:
		visit(v)
		for _, item := range v {
			walk(item, visit)
		}
	case []any:
		for _, item := range v {
			walk(item, visit)
		}
	}
}

// each visits a stack's resources with their names, types and properties.
func (d deployment) each(stack string, visit func(id, kind string, properties object)) {
	resources, _ := d.tree[stack]["Resources"].(object)
	for id, r := range resources {
		properties, _ := at(r, "Properties").(object)
		visit(id, fmt.Sprint(at(r, "Type")), properties)
	}
}

// list is v, or v alone.
func list(v any) []any {
	if l, ok := v.([]any); ok || v == nil {
		return l
	}
	return []any{v}
}

// TestDecisions: the templates say what testdata/decisions.yaml says; and each of its values, were it another, is missed.
func TestDecisions(t *testing.T) {
	text, err := os.ReadFile("testdata/decisions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, decisions := parse(t, read(t)), parseYAML(t, string(text))
	for stack, want := range decisions {
		for _, wrong := range missing(want, d.tree[stack], stack) {
			t.Error(wrong)
		}
		leaves(want, func(set func(any), value any) {
			set("planted")
			if len(missing(want, d.tree[stack], stack)) == 0 {
				t.Errorf("%s: nothing notices another value than %v", stack, value)
			}
			set(value)
		})
	}
}

// missing says where got has not what want has. A list of mappings has to contain them, any other list to be the same.
func missing(want, got any, path string) (wrong []string) {
	switch want := want.(type) {
	case object:
		for key, value := range want {
			wrong = append(wrong, missing(value, at(got, key), path+"/"+key)...)
		}
	case []any:
		there, _ := got.([]any)
		_, mappings := want[0].(object)
		if !mappings && len(there) != len(want) {
			return []string{fmt.Sprintf("%s is %v, not %v", path, got, want)}
		}
		for i, value := range want {
			if mappings && !slices.ContainsFunc(there, func(one any) bool { return len(missing(value, one, "")) == 0 }) {
				wrong = append(wrong, fmt.Sprintf("%s lacks %v", path, value))
			} else if !mappings {
				wrong = append(wrong, missing(value, there[i], fmt.Sprint(path, "/", i))...)
			}
		}
	default:
		if want != got {
			wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", path, got, want))
		}
	}
	return wrong
}

// leaves visits every scalar below v with what replaces it.
func leaves(v any, visit func(set func(any), value any)) {
	one := func(value any, set func(any)) {
		switch value.(type) {
		case object, []any:
			leaves(value, visit)
		default:
			visit(set, value)
		}
	}
	switch v := v.(type) {
	case object:
		for key, value := range v {
			one(value, func(other any) { v[key] = other })
		}
	case []any:
		for i, value := range v {
			one(value, func(other any) { v[i] = other })
		}
	}
}

// readWorkflow reports what is wrong with a workflow: an action not pinned by its commit, more rights than it needs, an
// expression inside a script, where whoever names a branch could write commands.
func readWorkflow(t *testing.T, text string, report func(string, ...any)) {
	tree := parseYAML(t, text)
	if fmt.Sprint(tree["permissions"]) != "map[contents:read]" {
		report("permissions of all jobs: %v", tree["permissions"])
	}
	walk(tree["jobs"], func(o object) {
		if rights, ok := o["permissions"]; ok && (fmt.Sprint(rights) != "map[contents:read id-token:write]" || !strings.Contains(fmt.Sprint(o["steps"]), "role-to-assume")) {
			report("permissions: %v", rights)
		}
		script, _ := o["run"].(string)
		if strings.Contains(script, "${{") && script != "${{ matrix.prepare }}" {
			report("an expression in a script: %s", script)
		}
		uses, _ := o["uses"].(string)
		switch action, _, _ := strings.Cut(uses, "@"); {
		case action == "actions/checkout" && at(o, "with/persist-credentials") != false:
			report("the checkout leaves its token")
		case action == "docker/build-push-action" && fmt.Sprintf("%v %v %v", at(o, "with/platforms"), at(o, "with/provenance"), at(o, "with/sbom")) != "linux/amd64,linux/arm64 mode=max true":
			report("an image for one processor, without provenance, or without its bill of materials: %v", o["with"])
		}
	})
	pinned := regexp.MustCompile(`^([\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./[\w./-]+)$`)
	for _, m := range regexp.MustCompile(`(?m)^\s*-? *uses: +(.*)$`).FindAllStringSubmatch(text, -1) {
		if !pinned.MatchString(m[1]) {
			report("not pinned by its commit: %s", m[1])
		}
	}
}

func TestWorkflows(t *testing.T) {
	names, _ := filepath.Glob("../.github/workflows/*.yml")
	texts := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(text)
		readWorkflow(t, string(text), func(format string, args ...any) { t.Errorf("%s: %s", name, fmt.Sprintf(format, args...)) })
	}
	publish := texts["publish.yml"]
	for old, new := range map[string]string{
		"actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1": "actions/checkout@v7",
		"permissions:\n  contents: read":                            "permissions: write-all",
		"id-token: write":                                           "packages: write",
		"persist-credentials: false":                                "persist-credentials: true",
		"provenance: mode=max":                                      "provenance: false",
		"deploy IMAGE=$IMAGE":                                       "deploy IMAGE=${{ github.ref_name }}",
		"uses: ./.github/workflows/test.yml":                        "uses: somebody/else/.github/workflows/test.yml@main",
	} {
		found := 0
		readWorkflow(t, strings.Replace(publish, old, new, 1), func(string, ...any) { found++ })
		if found == 0 || !strings.Contains(publish, old) {
			t.Errorf("%s instead of %s is not found", new, old)
		}
	}
}

// TestFunctionBuild: what sam build calls builds as for a release, for the processor that the template declares and for no other,
// whatever the environment says. The program is an empty one.
func TestFunctionBuild(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	template := read(t)["lambda"]
	makefile, err := filepath.Abs("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	declared := "Architectures: [arm64]"
	for _, c := range []struct {
		declares string
		machine  elf.Machine
	}{
		{declared, elf.EM_AARCH64},
		{"Architectures: [x86_64]", elf.EM_X86_64},
		{"Architectures: [amd64]", elf.EM_NONE},
		{"Architectures: [!Ref Architecture]", elf.EM_NONE},
	} {
		t.Run(c.declares, func(t *testing.T) {
			folder := t.TempDir()
			for name, text := range map[string]string{
				"template.yaml": strings.Replace(template, declared, c.declares, 1),
				"go.mod":        "module empty\n\ngo 1.26\n",
				"main.go":       "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
			} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			command := exec.Command("make", "--makefile", makefile, "build-Function")
			command.Dir = folder
			command.Env = append(os.Environ(), "ARTIFACTS_DIR="+folder+"/built", "ARCH=s390x", "GOARCH=s390x", "GOFLAGS=")
			out, err := command.CombinedOutput()
			if c.machine == elf.EM_NONE {
				if err == nil || !strings.Contains(string(out), "must be [arm64] or [x86_64]") || strings.Contains(string(out), "go build") {
					t.Errorf("%v\n%s", err, out)
				}
				return
			}
			for _, part := range []string{"GOOS=linux", "CGO_ENABLED=0", "-tags lambda.norpc", "-s -w"} {
				if !strings.Contains(string(out), part) {
					t.Errorf("no %s in %s", part, out)
				}
			}
			program, openErr := elf.Open(filepath.Join(folder, "built", "bootstrap"))
			if err != nil || openErr != nil {
				t.Fatalf("%v, %v\n%s", err, openErr, out)
			}
			defer program.Close()
			if program.Machine != c.machine {
				t.Errorf("built for %s, not %s", program.Machine, c.machine)
			}
		})
	}
}
