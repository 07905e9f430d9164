package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEnvExample: .env.example names what docker-compose.yml reads, and nothing else.
func TestEnvExample(t *testing.T) {
	t.Parallel()
	names := func(file, form string) (list []string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(string(text), -1) {
			list = append(list, m[1])
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	read, named := names("../docker-compose.yml", `\$\{(\w+)`), names("../.env.example", `(?m)^(\w+)=`)
	if diff := cmp.Diff(read, named); diff != "" || !slices.Contains(read, "DB_PASSWORD") {
		t.Errorf("docker-compose.yml reads (-) and .env.example names (+)\n%s", diff)
	}
}

// TestCompose_version: the image that compose builds has the version of the source, not of a setting that outlives an upgrade.
func TestCompose_version(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "VERSION") {
		t.Error("docker-compose.yml sets VERSION")
	}
	ignore, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?ms)^!\.git$.*^\.git/config$`).Match(ignore) {
		t.Error(".dockerignore keeps .git from the builder, or lets its config through, which may hold a password")
	}
}
