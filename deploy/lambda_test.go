package deploy_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// functionSettings are the program's settings that a function is given, and what each is without a parameter and without a
// stack: empty, which counts as unset.
var functionSettings = []string{"DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_SECRET_ARN", "MIGRATE",
	"BORROW_LIMIT", "LOAN_DAYS", "FINE_PER_DAY", "TZ_NAME", "CORS_ORIGINS", "BASE_PATH", "LOG_LEVEL"}

// stacks deploy template.yaml beside the others, as samconfig.toml does.
var stacks = map[string]string{"NetworkStack": "library-network", "DataStack": "library-data"}

func imported(from, name string) any {
	return object{"Fn::ImportValue": object{"Fn::Sub": "${" + from + "}-" + name}}
}

// checkFunction holds template.yaml to what the README says of it.
func checkFunction(all templates, report func(string, ...any)) {
	t := all["lambda"]
	if t == nil {
		report("there is no template.yaml")
		return
	}
	has := func(given map[string]string, path string, want any) {
		if got := t.evalDeep(at(t.section("Resources"), path), given); !reflect.DeepEqual(got, want) {
			report("%s is %v, not %v", path, got, want)
		}
	}
	functions := 0
	t.ofType("AWS::Serverless::Function", func(string, object) { functions++ })
	t.ofType("AWS::Lambda::Function", func(string, object) { functions++ })
	if functions != 1 || t.tree["Transform"] != "AWS::Serverless-2016-10-31" {
		report("%d functions, %v", functions, t.tree["Transform"])
	}

	const f = "Function/Properties/"
	has(nil, f+"Runtime", "provided.al2023")
	has(nil, f+"Handler", "bootstrap")
	has(nil, f+"Architectures", []any{"arm64"})
	has(map[string]string{"Architecture": "x86_64"}, f+"Architectures", []any{"x86_64"})
	has(nil, f+"Timeout", 10)
	has(nil, f+"Tracing", "Active")
	has(nil, f+"ReservedConcurrentExecutions", "10")
	has(map[string]string{"ReservedConcurrency": "3"}, f+"ReservedConcurrentExecutions", "3")
	has(map[string]string{"ReservedConcurrency": ""}, f+"ReservedConcurrentExecutions", ref("AWS::NoValue"))
	has(nil, f+"LoggingConfig", object{"LogGroup": ref("LogGroup"), "LogFormat": "JSON"})
	has(nil, "LogGroup/Properties/RetentionInDays", 30)
	has(nil, f+"Role", object{"Fn::GetAtt": []any{"Role", "Arn"}})
	has(nil, "Function/Metadata/BuildMethod", "makefile")
	has(nil, f+"CodeUri", ".")

	// Both of its paths lead from the one API to the function: /{proxy+} does not match /.
	for event, path := range map[string]string{"Root": "/", "Rest": "/{proxy+}"} {
		has(nil, f+"Events/"+event, object{"Type": "HttpApi", "Properties": object{"ApiId": ref("Api"), "Method": "ANY", "Path": path}})
	}
	has(nil, "Api/Type", "AWS::Serverless::HttpApi")

	// Without a word, no VPC: sam local and a first try. With stacks, theirs; with subnets, those.
	subnets := map[string]string{"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
	has(nil, f+"VpcConfig", ref("AWS::NoValue"))
	has(stacks, f+"VpcConfig", object{
		"SubnetIds":        object{"Fn::Split": []any{",", imported("NetworkStack", "AppSubnets")}},
		"SecurityGroupIds": []any{imported("NetworkStack", "AppSecurityGroupId")},
	})
	has(subnets, f+"VpcConfig", object{
		"SubnetIds": object{"Fn::Split": []any{",", "subnet-1,subnet-2"}}, "SecurityGroupIds": object{"Fn::Split": []any{",", "sg-1"}},
	})

	variables := f + "Environment/Variables/"
	for _, name := range functionSettings {
		if at(t.section("Resources"), variables+name) == nil {
			report("the function is not given %s", name)
			continue
		}
		has(nil, variables+name, "")
	}
	for name := range asObject(at(t.section("Resources"), f+"Environment/Variables")) {
		if !slices.Contains(functionSettings, name) {
			report("the function is given %s, which no rule knows", name)
		}
	}
	const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:library-AbCdEf"
	database := map[string]string{"DatabaseHost": "proxy.example", "DatabasePort": "3307", "DatabaseName": "books", "DatabaseSecretArn": arn}
	for name, want := range map[string]any{"DB_HOST": "proxy.example", "DB_PORT": "3307", "DB_NAME": "books", "DB_SECRET_ARN": arn, "DATABASE_URL": ""} {
		has(database, variables+name, want)
	}
	for name, export := range map[string]string{"DB_HOST": "FunctionEndpoint", "DB_PORT": "DatabasePort", "DB_NAME": "DatabaseName", "DB_SECRET_ARN": "AppSecretArn"} {
		has(stacks, variables+name, imported("DataStack", export))
	}
	for name, refused := range map[string][]string{
		"DatabaseUrl":       {"mysql://u:p@h/n", "sqlite://relative.db"},
		"DatabaseSecretArn": {"correct-horse"},
		"SubnetIds":         {"vpc-1"},
	} {
		pattern := regexp.MustCompile(asString(at(t.section("Parameters"), name+"/AllowedPattern")))
		for _, value := range refused {
			if pattern.MatchString(value) {
				report("%s takes %q", name, value)
			}
		}
		if !pattern.MatchString("") {
			report("%s must be given", name)
		}
	}

	// The role's rights, whole: where nothing is asked for, its log and its traces.
	rights := func(given map[string]string) (list []string) {
		for _, p := range asList(t.evalDeep(at(t.section("Resources"), "Role/Properties/Policies"), given)) {
			for _, s := range asList(at(p, "PolicyDocument/Statement")) {
				for _, action := range asList(at(s, "Action")) {
					list = append(list, fmt.Sprint(action, " ", at(s, "Resource")))
				}
			}
		}
		slices.Sort(list)
		return list
	}
	log := fmt.Sprint(object{"Fn::GetAtt": []any{"LogGroup", "Arn"}})
	alone := []string{"logs:CreateLogStream " + log, "logs:PutLogEvents " + log, "xray:PutTelemetryRecords *", "xray:PutTraceSegments *"}
	network := []string{"ec2:AssignPrivateIpAddresses *", "ec2:CreateNetworkInterface *", "ec2:DeleteNetworkInterface *",
		"ec2:DescribeNetworkInterfaces *", "ec2:DescribeSubnets *", "ec2:UnassignPrivateIpAddresses *"}
	for _, c := range []struct {
		given map[string]string
		more  []string
	}{
		{nil, nil},
		{database, []string{"secretsmanager:GetSecretValue " + arn}},
		{subnets, network},
		{stacks, append(slices.Clone(network), fmt.Sprint("secretsmanager:GetSecretValue ", imported("DataStack", "AppSecretArn")))},
	} {
		want := append(slices.Clone(alone), c.more...)
		slices.Sort(want)
		if got := rights(c.given); !slices.Equal(got, want) {
			report("with %v the role may %v, not %v", c.given, got, want)
		}
	}
	if at(t.section("Resources"), "Role/Properties/ManagedPolicyArns") != nil || at(t.section("Resources"), f+"Policies") != nil {
		report("the function has rights from elsewhere")
	}

	// The URL is there where it is asked for, and open to anyone only where that is.
	for auth, want := range map[string][]bool{"OFF": {false, false, false}, "AWS_IAM": {true, false, false}, "NONE": {true, true, true}} {
		for i, id := range []string{"FunctionUrl", "FunctionUrlForAnyone", "FunctionForAnyoneByUrl"} {
			r := asObject(t.section("Resources")[id])
			condition := t.section("Conditions")[asString(r["Condition"])]
			if condition == nil || t.holds(condition, map[string]string{"FunctionUrlAuth": auth}) != want[i] {
				report("FunctionUrlAuth %s and %s", auth, id)
			}
		}
	}
	has(map[string]string{"FunctionUrlAuth": "AWS_IAM"}, "FunctionUrl/Properties/AuthType", "AWS_IAM")

	// One connection for each instance: all of them fit into the proxy's share.
	share := number(all["data"].section("Resources"), "DatabaseProxyTargets/Properties/ConnectionPoolConfigurationInfo/MaxConnectionsPercent")
	limit := number(all["data"].section("Mappings"), "Size/false/MaxConnections")
	if n := number(t.section("Parameters"), "ReservedConcurrency/Default"); n > limit*share/100 {
		report("%d instances for %d connections of the proxy", n, limit*share/100)
	}
	for _, metric := range []string{"Errors", "Throttles", "5xx"} {
		watched := false
		t.ofType("AWS::CloudWatch::Alarm", func(_ string, r object) { watched = watched || at(r, "Properties/MetricName") == metric })
		if !watched {
			report("nothing watches %s", metric)
		}
	}
}

// evalDeep is eval in all of a tree; a list loses what comes to NoValue.
func (t *template) evalDeep(v any, given map[string]string) any {
	switch v := t.eval(v, given).(type) {
	case object:
		if fmt.Sprint(t.eval(v, given)) != fmt.Sprint(v) {
			return t.evalDeep(t.eval(v, given), given)
		}
		out := object{}
		for k, value := range v {
			out[k] = t.evalDeep(value, given)
		}
		return out
	case []any:
		out := []any{}
		for _, item := range v {
			if item = t.evalDeep(item, given); !reflect.DeepEqual(item, ref("AWS::NoValue")) {
				out = append(out, item)
			}
		}
		return out
	default:
		return v
	}
}

func TestFunction(t *testing.T) {
	all, err := parse(readFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	checkFunction(all, func(format string, args ...any) { t.Errorf(format, args...) })
}

// functionFaults are planted one at a time into template.yaml; checkFunction has to find each.
var functionFaults = []struct{ old, new, finds string }{
	{"Runtime: provided.al2023", "Runtime: provided.al2", "Runtime"},
	{"Handler: bootstrap", "Handler: main", "Handler"},
	{"    Default: arm64", "    Default: x86_64", "Architectures"},
	{"[!Ref Architecture]", "[arm64]", "Architectures"},
	{"Timeout: 10", "Timeout: 3", "Timeout"},
	{"Tracing: Active", "Tracing: PassThrough", "Tracing"},
	{"!If [HasReservedConcurrency, !Ref ReservedConcurrency, !Ref AWS::NoValue]", "10", "ReservedConcurrentExecutions"},
	{`    Default: "10"`, `    Default: "100"`, "100 instances for 16"},
	{"LogFormat: JSON", "LogFormat: Text", "LoggingConfig"},
	{"RetentionInDays: !Ref LogDays", "RetentionInDays: 3653", "RetentionInDays"},
	{"      Role: !GetAtt Role.Arn\n", "", "Function/Properties/Role"},
	{"BuildMethod: makefile", "BuildMethod: go1.x", "BuildMethod"},
	{"Method: ANY, Path: /}", "Method: GET, Path: /}", "Events/Root"},
	{`Path: "/{proxy+}"`, `Path: "/books/{proxy+}"`, "Events/Rest"},
	{"${NetworkStack}-AppSubnets", "${NetworkStack}-DataSubnets", "VpcConfig"},
	{"              - !Ref AWS::NoValue\n", "              - {}\n", "VpcConfig"},
	{"${DataStack}-FunctionEndpoint", "${DataStack}-DatabaseEndpoint", "DB_HOST"},
	{"          MIGRATE: !Ref Migrate\n", "", "not given MIGRATE"},
	{"          LOG_LEVEL: !Ref LogLevel\n", "          LOG_LEVEL: !Ref LogLevel\n          DB_PASSWORD: !Ref LogLevel\n", "no rule knows"},
	{"!Ref DatabaseUrl", `"sqlite:///tmp/library.db"`, "DATABASE_URL"},
	{`"^(sqlite:///.+)?$"`, `"^(\\w+://.+)?$"`, "DatabaseUrl takes"},
	{`"^(arn:aws[a-z-]*:secretsmanager:.+)?$"`, `".*"`, "DatabaseSecretArn takes"},
	{"Action: secretsmanager:GetSecretValue", "Action: [secretsmanager:GetSecretValue, secretsmanager:PutSecretValue]", "PutSecretValue"},
	{`Resource: !If [HasDataStack, {"Fn::ImportValue": !Sub "${DataStack}-AppSecretArn"}, !Ref DatabaseSecretArn]`, `Resource: "*"`, "the role may"},
	{"[logs:CreateLogStream, logs:PutLogEvents]", "[logs:CreateLogGroup, logs:CreateLogStream, logs:PutLogEvents]", "CreateLogGroup"},
	{"            - HasNetwork\n", "            - HasSecret\n", "the role may"},
	{"      AssumeRolePolicyDocument:", "      ManagedPolicyArns: [arn:aws:iam::aws:policy/AdministratorAccess]\n      AssumeRolePolicyDocument:", "rights from elsewhere"},
	{"HasFunctionUrl: !Not [!Equals [!Ref FunctionUrlAuth, \"OFF\"]]", "HasFunctionUrl: !Equals [!Ref FunctionUrlAuth, NONE]", "AWS_IAM and FunctionUrl"},
	{"    Type: AWS::Lambda::Permission\n    Condition: IsPublicFunctionUrl\n", "    Type: AWS::Lambda::Permission\n    Condition: HasFunctionUrl\n", "AWS_IAM and FunctionUrlForAnyone"},
	{"MetricName: Throttles", "MetricName: Invocations", "nothing watches Throttles"},
}

func TestFunctionFaults(t *testing.T) {
	texts := readFiles(t)
	original := texts["lambda"]
	for _, f := range functionFaults {
		t.Run(f.finds, func(t *testing.T) {
			if !strings.Contains(original, f.old) {
				t.Fatalf("%q is not in template.yaml any more", f.old)
			}
			texts["lambda"] = strings.Replace(original, f.old, f.new, 1)
			all, err := parse(texts)
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			checkFunction(all, func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) })
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, f.finds) }) {
				t.Errorf("found %q, not %q", found, f.finds)
			}
		})
	}
}

// TestFunctionBuild: sam build finds its target in the Makefile, which builds as for a release, for the processor asked for.
func TestFunctionBuild(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile(`(?m)^build-Function:\n\t(.*)$`).FindStringSubmatch(string(makefile))
	build := regexp.MustCompile(`(?m)^BUILD +=(.*)$`).FindStringSubmatch(string(makefile))
	flags := regexp.MustCompile(`(?m)^LDFLAGS +=(.*)$`).FindStringSubmatch(string(makefile))
	if target == nil || build == nil || flags == nil {
		t.Fatal("the Makefile has no build-Function, BUILD and LDFLAGS")
	}
	for text, parts := range map[string][]string{
		target[1]: {"GOOS=linux", "GOARCH=$(ARCH)", "$(BUILD)", `-o "$(ARTIFACTS_DIR)/bootstrap"`},
		build[1]:  {"CGO_ENABLED=0", "-tags lambda.norpc", "$(LDFLAGS)"},
		flags[1]:  {"-s", "-w"},
	} {
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%q lacks %s", text, part)
			}
		}
	}
}
