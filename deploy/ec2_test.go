package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEC2Page runs the page's blocks one after the other, as its reader does, with stand-ins for the AWS CLI and curl, and then the
// user data that it makes, with stand-ins for what an instance has.
func TestEC2Page(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("NOT TESTED: the page's lines need bash")
	}
	page, err := os.ReadFile("ec2.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		lines.WriteString(m[1])
	}
	const standIns = `#!/bin/bash
name=${0##*/}
printf '%s\n' "$name $*" >>"$STATE/calls"
case $name-$* in
  curl-*checkip*) echo 203.0.113.7 ;;
  curl-*readyz) [ -e "$STATE/asked" ] || { : >"$STATE/asked"; exit 22; } ;;
  aws-*Endpoint.Address*) echo library.abc.us-east-1.rds.amazonaws.com ;;
  aws-*MasterUserSecret*) echo 'arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-x' ;;
  "aws-ecr get-login-password"*) echo registry-token ;;
  aws-*" ssm "*) ;;
  aws-*--query*) echo x-1 ;;
  dnf-*) [ -e "$STATE/tried" ] || { : >"$STATE/tried"; exit 1; } ;;
  docker-login*) cat >"$STATE/login" ;;
esac
`
	run := func(t *testing.T, folder, text string) []string {
		t.Helper()
		os.Remove(filepath.Join(folder, "calls"))
		for _, name := range []string{"aws", "curl", "dnf", "docker", "systemctl", "sleep"} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(standIns), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		c := exec.Command("bash", "-eu", "-c", text)
		c.Dir, c.Env = folder, []string{"PATH=" + folder + ":" + os.Getenv("PATH"), "STATE=" + folder}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		calls, _ := os.ReadFile(filepath.Join(folder, "calls"))
		return strings.Split(strings.TrimSpace(string(calls)), "\n")
	}

	for name, image := range map[string]string{
		"Docker Hub": "docker.io/ada/library-management@sha256:" + strings.Repeat("ab", 32),
		"ECR":        "123456789012.dkr.ecr.us-east-1.amazonaws.com/library-management@sha256:" + strings.Repeat("ab", 32),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			text := strings.Replace(lines.String(), "docker.io/YOU/library-management@sha256:DIGEST", image, 1)
			text = strings.Replace(text, "rm library-user-data.sh\n", "", 1)
			calls := run(t, folder, text)
			made := strings.Join(calls, "\n")
			for _, want := range []string{"--port 8000 --cidr 203.0.113.7/32", "--port 3306 --source-group x-1", "--manage-master-user-password", "--no-publicly-accessible",
				`"Action": "secretsmanager:GetSecretValue", "Resource": "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-x"`,
				"HttpTokens=required,HttpPutResponseHopLimit=2", "library key add admin --name"} {
				if !strings.Contains(made, want) {
					t.Errorf("no %s in\n%s", want, made)
				}
			}
			if strings.Contains(made, "--port 22") || strings.Contains(made, "0.0.0.0/0") {
				t.Errorf("open to all, or to SSH:\n%s", made)
			}
			for _, m := range regexp.MustCompile(`aws iam (?:create|put|attach|add)-(\S+).*`).FindAllString(made, -1) {
				verb := strings.NewReplacer("create-", "delete-", "put-", "delete-", "attach-", "detach-", "add-role-to", "remove-role-from").Replace(strings.Fields(m)[2])
				if !strings.Contains(made, "aws iam "+verb) {
					t.Errorf("nothing cleans up %s", m)
				}
			}

			userData, err := os.ReadFile(filepath.Join(folder, "library-user-data.sh"))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"dnf install -y docker", "sleep 5", "dnf install -y docker", "systemctl enable --now docker", "docker pull " + image,
				"docker run -d --name library --restart unless-stopped -p 8000:8000 --read-only --tmpfs /tmp --tmpfs /data --cap-drop ALL --security-opt no-new-privileges" +
					" --memory 512m --ulimit nofile=4096:4096 --stop-timeout 40 --log-opt max-size=10m --log-opt max-file=3" +
					" -e AWS_REGION=us-east-1 -e DB_HOST=library.abc.us-east-1.rds.amazonaws.com -e DB_NAME=library" +
					" -e DB_SECRET_ARN=arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-x " + image}
			calls = run(t, folder, string(userData)) // all that it does: no password, no tag that moves
			if name == "ECR" {
				if token, err := os.ReadFile(filepath.Join(folder, "login")); err != nil || string(token) != "registry-token\n" {
					t.Errorf("logged in with %q, %v", token, err)
				}
				login := func(call string) bool {
					return strings.HasPrefix(call, "aws ecr ") || strings.HasPrefix(call, "docker login ")
				}
				if calls = slices.DeleteFunc(calls, login); len(calls) != len(want) {
					t.Errorf("it called %q", calls)
				}
			}
			if !slices.Equal(calls, want) {
				t.Errorf("it called\n%s\nnot\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
