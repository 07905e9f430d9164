package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPublish: what is refused is refused with a sentence and before anything is built, and what is built is pushed once, under
// its version, for both architectures.
func TestPublish(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("NOT TESTED: publish.sh needs bash")
	}
	const docker = `#!/bin/bash
echo "docker $*" >>"$STATE/calls"
case "$*" in
  "buildx imagetools inspect"*) [ -e "$STATE/published" ] ;;
  "buildx inspect"*) false ;;
  login*) cat >"$STATE/password" ;;
  "buildx build"*)
    while [ "$1" != --metadata-file ]; do shift; done
    printf '{\n  "containerimage.digest": "sha256:abc123",\n  "image.name": "x"\n}\n' >"$2" ;;
esac
`
	const aws = "#!/bin/bash\necho \"aws $*\" >>\"$STATE/calls\"\necho registry-token\n"
	publish := func(t *testing.T, repository, version string, published bool) (calls, said, folder string, err error) {
		folder = t.TempDir()
		for name, text := range map[string]string{"docker": docker, "aws": aws} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if published {
			if err := os.WriteFile(filepath.Join(folder, "published"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := exec.Command("./publish.sh", repository)
		c.Env = []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "STATE=" + folder, "VERSION=" + version}
		out, err := c.CombinedOutput()
		log, _ := os.ReadFile(filepath.Join(folder, "calls"))
		return string(log), string(out), folder, err
	}

	for _, refused := range []struct {
		name, repository, version, said string
		published                       bool
	}{
		{"nowhere", "", "v1.0.0", "where to? For example: make publish REPOSITORY=docker.io/ada/library-management", false},
		{"the guide's own", "docker.io/YOU/library-management", "v1.0.0", "put your own name", false},
		{"the guide's account", "ACCOUNT.dkr.ecr.us-east-1.amazonaws.com/x", "v1.0.0", "put your own name", false},
		{"the guide's alias", "public.ecr.aws/ALIAS/x", "v1.0.0", "put your own name", false},
		{"tag", "localhost:5000/x:v1", "v1.0.0", "without a tag", false},
		{"digest", "docker.io/ada/x@sha256:abc", "v1.0.0", "without a tag or a digest", false},
		{"capital", "docker.io/Ada/x", "v1.0.0", "no capitals", false},
		{"not committed", "docker.io/ada/x", "v1.0.0-dirty", "not committed", false},
		{"no version", "docker.io/ada/x", "dev", "version is not known", false},
		{"twice", "docker.io/ada/x", "v1.0.0", "docker.io/ada/x:v1.0.0 is there already", true},
	} {
		t.Run(refused.name, func(t *testing.T) {
			t.Parallel()
			calls, said, _, err := publish(t, refused.repository, refused.version, refused.published)
			if err == nil || !strings.Contains(said, refused.said) || strings.Contains(calls, "buildx build") {
				t.Errorf("got %v, %q, after\n%s", err, said, calls)
			}
		})
	}

	for repository, login := range map[string]string{
		"localhost:5000/library-management": "",
		"123456789012.dkr.ecr.eu-west-3.amazonaws.com/library-management": "aws ecr get-login-password --region eu-west-3\n" +
			"docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-3.amazonaws.com\n",
		"public.ecr.aws/a1b2c3/library-management": "aws ecr-public get-login-password --region us-east-1\n" +
			"docker login --username AWS --password-stdin public.ecr.aws\n",
	} {
		t.Run(strings.ReplaceAll(repository, "/", "_"), func(t *testing.T) {
			t.Parallel()
			calls, said, folder, err := publish(t, repository, "v1.0.0", false)
			if err != nil || !strings.HasSuffix(said, "make deploy IMAGE="+repository+"@sha256:abc123\n") {
				t.Fatalf("got %v, %q", err, said)
			}
			for _, want := range []string{"docker buildx create --name library-management --driver docker-container\n",
				"--platform linux/amd64,linux/arm64 --build-arg VERSION=v1.0.0 ", "--tag " + repository + ":v1.0.0 --push .\n"} {
				if !strings.Contains(calls, want) {
					t.Errorf("no %q in\n%s", want, calls)
				}
			}
			// The two of the login run at once.
			for _, line := range strings.SplitAfter(login, "\n") {
				if !strings.Contains(calls, line) {
					t.Errorf("no %q in\n%s", line, calls)
				}
			}
			if password, _ := os.ReadFile(filepath.Join(folder, "password")); login != "" && string(password) != "registry-token\n" || login == "" && password != nil {
				t.Errorf("the password was %q", password)
			}
			if strings.Contains(calls+said, "registry-token") {
				t.Error("the token was told")
			}
		})
	}
}

// TestPublish_workflow runs the workflow's first job: it ends well only with all that the others take, and else says what to set.
func TestPublish_workflow(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("NOT TESTED: the workflow's steps need bash")
	}
	text, err := os.ReadFile("../.github/workflows/publish.yml")
	if err != nil {
		t.Fatal(err)
	}
	tree := parseYAML(t, string(text))
	step, _ := at(tree, "jobs/settings/steps/0/run").(string)
	if step == "" || at(tree, "jobs/test/needs") != "settings" {
		t.Fatal("the workflow does not begin with its settings")
	}
	guide, err := os.ReadFile("publishing.md")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := at(tree, "jobs/settings/steps/0/env").(object)
	for name := range names {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("the guide does not name %s", name)
		}
	}
	const hub, ecr = "DOCKERHUB_IMAGE=ada/library-management", "ECR_IMAGE=123456789012.dkr.ecr.eu-west-3.amazonaws.com/library-management"
	for name, test := range map[string]struct {
		set  string // with spaces between
		said []string
	}{
		"nothing":          {"", []string{"DOCKERHUB_IMAGE, such as", "or ECR_IMAGE, such as"}},
		"Docker Hub":       {hub + " DOCKERHUB_USERNAME=ada DOCKERHUB_TOKEN=set", nil},
		"ECR":              {ecr + " AWS_ROLE=arn:aws:iam::123456789012:role/publish", nil},
		"both":             {hub + " DOCKERHUB_USERNAME=ada DOCKERHUB_TOKEN=set " + ecr + " AWS_ROLE=arn", nil},
		"no token":         {hub + " DOCKERHUB_USERNAME=ada", []string{"secret DOCKERHUB_TOKEN"}},
		"no user":          {hub + " DOCKERHUB_TOKEN=set", []string{"variable DOCKERHUB_USERNAME"}},
		"no role":          {ecr, []string{"variable AWS_ROLE"}},
		"both, neither":    {hub + " " + ecr, []string{"DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN", "AWS_ROLE"}},
		"the guide's name": {"DOCKERHUB_IMAGE=YOU/x DOCKERHUB_USERNAME=ada DOCKERHUB_TOKEN=set", []string{"put your own name"}},
		"with the host":    {"DOCKERHUB_IMAGE=docker.io/ada/x DOCKERHUB_USERNAME=ada DOCKERHUB_TOKEN=set", []string{"only the name and the repository"}},
		"no name":          {"DOCKERHUB_IMAGE=x DOCKERHUB_USERNAME=ada DOCKERHUB_TOKEN=set", []string{"the name goes before it"}},
		"a tag":            {ecr + ":v1 AWS_ROLE=arn", []string{"without a tag"}},
		"no account":       {"ECR_IMAGE=library-management AWS_ROLE=arn", []string{"it has the form"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := exec.Command("bash", "-e", "-c", step)
			c.Env = []string{"PATH=" + os.Getenv("PATH")}
			for name := range names {
				c.Env = append(c.Env, name+"=")
			}
			c.Env = append(c.Env, strings.Fields(test.set)...)
			out, err := c.CombinedOutput()
			if (err == nil) != (test.said == nil) || test.said == nil && len(out) > 0 {
				t.Fatalf("got %v, %s", err, out)
			}
			for _, want := range test.said {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in %s", want, out)
				}
			}
		})
	}
}
