package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readWorkflow reports what is wrong with a workflow: an action not pinned by its commit, more rights than it needs, an
// expression inside a script, where whoever names a branch could write commands.
func readWorkflow(text string, report func(string, ...any)) {
	all, err := parse(map[string]string{"workflow": text})
	if err != nil {
		report("%v", err)
		return
	}
	tree := all["workflow"].tree
	if fmt.Sprint(tree["permissions"]) != "map[contents:read]" {
		report("permissions of all jobs: %v", tree["permissions"])
	}
	for name, j := range asObject(tree["jobs"]) {
		job := asObject(j)
		for right, value := range asObject(job["permissions"]) {
			if !(right == "contents" && value == "read" || right == "id-token" && value == "write" && strings.Contains(fmt.Sprint(job["steps"]), "role-to-assume")) {
				report("%s: %s: %v", name, right, value)
			}
		}
		if uses := asString(job["uses"]); uses != "" && !strings.HasPrefix(uses, "./") {
			report("%s uses %s", name, uses)
		}
		for _, s := range asList(job["steps"]) {
			if strings.Contains(asString(at(s, "run")), "${{") && at(s, "run") != "${{ matrix.prepare }}" {
				report("%s: an expression in a script: %s", name, at(s, "run"))
			}
			if strings.HasPrefix(asString(at(s, "uses")), "docker/build-push-action@") {
				for key, want := range map[string]any{"platforms": "linux/amd64,linux/arm64", "provenance": "mode=max", "sbom": true} {
					if got := at(s, "with/"+key); got != want {
						report("%s: %s: %v", name, key, got)
					}
				}
			}
			if strings.HasPrefix(asString(at(s, "uses")), "actions/checkout@") && at(s, "with/persist-credentials") != false {
				report("%s: the checkout leaves its token", name)
			}
		}
	}
	pinned := regexp.MustCompile(`^[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, m := range regexp.MustCompile(`(?m)^\s*-? *uses: +(.*)$`).FindAllStringSubmatch(text, -1) {
		if !pinned.MatchString(m[1]) && !strings.HasPrefix(m[1], "./") {
			report("not pinned by its commit: %s", m[1])
		}
	}
}

func TestWorkflows(t *testing.T) {
	names, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		readWorkflow(string(text), func(format string, args ...any) {
			t.Errorf("%s: %s", filepath.Base(name), fmt.Sprintf(format, args...))
		})
	}

	text, err := os.ReadFile("../.github/workflows/publish.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ old, new string }{
		{"actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1", "actions/checkout@v7"},
		{"permissions:\n  contents: read", "permissions: write-all"},
		{"id-token: write", "packages: write"},
		{"persist-credentials: false", "persist-credentials: true"},
		{"provenance: mode=max", "provenance: false"},
		{"sbom: true", "sbom: false"},
		{"platforms: linux/amd64,linux/arm64", "platforms: linux/amd64"},
		{"deploy IMAGE=$IMAGE", "deploy IMAGE=${{ github.ref_name }}"},
		{"uses: ./.github/workflows/test.yml", "uses: somebody/else/.github/workflows/test.yml@main"},
	} {
		found := 0
		readWorkflow(strings.Replace(string(text), f.old, f.new, 1), func(string, ...any) { found++ })
		if found == 0 || !strings.Contains(string(text), f.old) {
			t.Errorf("%s instead of %s is not found", f.new, f.old)
		}
	}
}
