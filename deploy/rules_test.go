package deploy_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rules are what no single value can say. Each reports what is wrong with the deployment as a whole.
var rules = map[string]func(d deployment, report func(format string, args ...any)){
	"imports": checkImports, "secrets": checkSecrets, "ways": checkWays, "rights": checkRights, "connections": checkConnections,
	"alarms": checkAlarms, "user data": checkUserData, "settings": checkSettings, "time-outs": checkTimeouts, "size": checkSize,
	"closed": checkClosed,
}

// faults are planted one at a time into the files' texts; the rule that each is named after has to find it.
var faults = []struct{ rule, file, old, new, finds string }{
	{"imports", "app", `"${NetworkStack}-PublicCidrs"`, `"${NetworkStack}-PublicCidr"`, "network exports no PublicCidr"},
	{"imports", "lambda", `"${DataStack}-FunctionEndpoint"`, `"${DataStack}-ProxyEndpoint"`, "data exports no ProxyEndpoint"},
	{"imports", "network", "GroupId: !Ref WebSecurityGroup,", `GroupId: {"Fn::ImportValue": !Sub "${DataStack}-AlertsArn"},`, "network comes before data"},
	{"imports", "data", `Name: !Sub "${AWS::StackName}-AlertsArn"`, `Name: AlertsArn`, "data exports no AlertsArn"},
	{"imports", "app", `{"Fn::ImportValue": !Sub "${NetworkStack}-VpcId"}`, `!ImportValue library-network-VpcId`, "form of its own"},

	{"secrets", "data", "  AlarmEmail:\n", "  MasterPassword:\n", "MasterPassword"},
	{"secrets", "data", "ManageMasterUserPassword: true", "MasterUserPassword: !Ref DatabaseName", "MasterUserPassword"},
	{"secrets", "data", "{Name: DB_TLS, Value: rds}", "{Name: DB_PASSWORD, Value: !Ref DatabaseName}", "DB_PASSWORD"},
	{"secrets", "lambda", "DB_PORT: !If", "DB_PASSWORD: correct-horse\n          DB_PORT: !If", "DB_PASSWORD"},
	{"secrets", "app", "STACK='${AWS::StackName}'", "DB_PASSWORD='correcthorse'", "correcthorse"},
	{"secrets", "app", "STACK='${AWS::StackName}'", "ADMIN_KEY='correcthorse'", "correcthorse"},
	{"secrets", "app", "--secret-id ${Arn}", "{{resolve:secretsmanager:${Arn}}}", "{{resolve:"},
	{"secrets", "lambda", "DB_PORT: !If", "ADMIN_KEY: !Ref DatabaseName\n          DB_PORT: !If", "ADMIN_KEY"},
	{"secrets", "data", "  AlarmEmail:\n", "  AdminKey:\n", "AdminKey"},
	{"secrets", "user data", "DB_TLS=rds", "DATABASE_URL=mysql://a:b@c/d", "://a:b@"},

	{"ways", "network", "FromPort: 80, ToPort: 80, CidrIp", "FromPort: 22, ToPort: 22, CidrIp", "0.0.0.0/0] or [IsNarrowed ClientNetworks.PrefixListId AWS::NoValue] > WebSecurityGroup: tcp 22-22"},
	{"ways", "network", "CidrIp: !If [IsNarrowed, !Ref AWS::NoValue, 0.0.0.0/0]", "CidrIp: 0.0.0.0/0", "WebFromWorldHttp: 0.0.0.0/0 or "},
	{"ways", "network", "!If [IsNarrowed, !GetAtt ClientNetworks.PrefixListId, !Ref AWS::NoValue]", "!If [IsNarrowed, !Ref AWS::NoValue, !GetAtt ClientNetworks.PrefixListId]", "AWS::NoValue ClientNetworks.PrefixListId]"},
	{"ways", "network", "FromPort: 3306, ToPort: 3306, SourceSecurityGroupId: !Ref AppSecurityGroup", "FromPort: 3306, ToPort: 3306, CidrIp: 0.0.0.0/0", "0.0.0.0/0 > DatabaseSecurityGroup"},
	{"ways", "network", "      SecurityGroupEgress:\n", "      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0}]\n      SecurityGroupEgress:\n", "22"},
	{"ways", "network", "FromPort: 252, ToPort: 86, CidrIp: 255.255.255.255/32", "FromPort: 252, ToPort: 86, CidrIp: 0.0.0.0/0", "a rule inside"},
	{"ways", "network", "RouteTableId: !Ref DataRouteTable", "RouteTableId: !Ref AppRouteTable1", "DataSubnet1 by AppRouteTable1"},
	{"ways", "network", "RouteTableId: !Ref AppRouteTable1, DestinationCidrBlock", "RouteTableId: !Ref DataRouteTable, DestinationCidrBlock", "DataRouteTable > "},

	{"rights", "lambda", "Action: secretsmanager:GetSecretValue", "Action: secretsmanager:*", "allows secretsmanager:*"},
	{"rights", "app", `, {"Fn::ImportValue": !Sub "${DataStack}-AdminKeySecretArn"}]`, `, "*"]`, "on everything"},
	{"rights", "data", "HasMasterSecret, !Ref MasterSecretArn, !GetAtt Database.MasterUserSecret.SecretArn], !Ref AppSecret]", "HasMasterSecret, !Ref MasterSecretArn, !GetAtt Database.MasterUserSecret.SecretArn], !Ref AdminKeySecret]", "may read the root key"},
	{"rights", "app", "AmazonSSMManagedInstanceCore", "AmazonS3FullAccess", "AmazonS3FullAccess"},
	{"rights", "data", "          - {Effect: Allow, Principal: {Service: rds.amazonaws.com}", `          - {Effect: Allow, Principal: "*"`, "everybody"},
	{"rights", "app", "# Below: deploy", "# Database.MasterUserSecret.SecretArn\n              # Below: deploy", "master's password"},

	{"connections", "app", `Intel: t3.micro, Pool: "5"`, `Intel: t3.micro, Pool: "6"`, "of 80 connections"},
	{"connections", "data", "MaxConnections: 600, ConnectionsAlarm: 480", "MaxConnections: 600, ConnectionsAlarm: 600", "the alarm"},
	{"connections", "lambda", "to 10 for instance", "to 100 for instance", "100 functions"},
	{"alarms", "data", "      AlarmActions: [!Ref Alerts]\n", "", "tells nobody"},
	{"alarms", "alerts", "library_database_waiting", "library_database_queue", "library_database_queue"},
	{"alarms", "alerts", `reason="deadlock"`, `reason="dead_lock"`, "dead_lock"},
	{"user data", "app", "--cap-drop ALL", "--cap-add ALL", "make user-data"},
	{"user data", "app", "SETTINGS='${Settings}'", "MORE='${Settings}'", "MORE"},
	{"user data", "app", "DB_PORT='${Port}'", "DB_PORT='3306'", "${Port} is not used"},
	{"user data", "app", "                  #!/bin/bash\n                  REGION", "                  REGION", "first line"},
	{"settings", "lambda", "          LOG_LEVEL: ", "          LOGLEVEL: ", "LOGLEVEL"},
	{"settings", "compose", "    LOAN_DAYS: ", "    LOANDAYS: ", "LOANDAYS"},
	{"settings", "user data", "\nMIGRATE=off", "\nMIGRATION=off", "MIGRATION"},
	{"time-outs", "data", `innodb_lock_wait_timeout: "3"`, `innodb_lock_wait_timeout: "50"`, "a lock's wait"},
	{"time-outs", "compose", "innodb-lock-wait-timeout=3", "innodb-lock-wait-timeout=50", "a lock's wait"},
	{"time-outs", "app", `idle_timeout.timeout_seconds, Value: "60"`, `idle_timeout.timeout_seconds, Value: "75"`, "the balancer"},
	{"time-outs", "lambda", "Timeout: 10", "Timeout: 3", "Lambda"},
	{"closed", "user data", "\nMIGRATE=off", "\nAUTH=off\nMIGRATE=off", "user data sets AUTH"},
	{"closed", "app", "SETTINGS='${Settings}'", "SETTINGS='AUTH=off ${Settings}'", "app sets AUTH"},
	{"closed", "lambda", "      - IsOpen\n      - !If", "      - HasApi\n      - !If", "says of itself that it is"},
	{"closed", "image", "ENV HOST=0.0.0.0", "ENV HOST=0.0.0.0 AUTH=off", "image sets AUTH"},
	{"closed", "image", "ENV HOST=0.0.0.0", "ENV HOST=127.0.0.1", "the image listens on [ENV HOST=127.0.0.1"},
	{"closed", "compose", `"${PUBLISH:-127.0.0.1}:${PORT:-8000}:8000"`, `"${PORT:-8000}:8000"`, `open to all who reach ["${PORT:-8000}:8000"]`},
	{"closed", "compose", `${AUTH:-${PUBLISH:+not said, with PUBLISH=}${PUBLISH:-off}}`, "${AUTH:-off}", "without being told to"},
	{"closed", "compose", `    image: mysql:8.4`, "    image: mysql:8.4\n    ports: [\"3306:3306\"]", `open to all who reach ["3306:3306"]`},
	{"size", "network", "\nResources:\n", "\n#" + strings.Repeat("x", 60_000) + "\nResources:\n", "bytes"},
}

func TestRules(t *testing.T) {
	texts, shown := read(t), map[string]bool{}
	check := func(d deployment, rule string) (found []string) {
		rules[rule](d, func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) })
		return found
	}
	for _, f := range faults {
		shown[f.rule] = true
		sound := texts[f.file]
		texts[f.file] = strings.Replace(sound, f.old, f.new, 1)
		if found := check(parse(t, texts), f.rule); texts[f.file] == sound || !strings.Contains(strings.Join(found, "\n"), f.finds) {
			t.Errorf("%s: with %q in %s for %q it found %q, not %q", f.rule, f.new, f.file, f.old, found, f.finds)
		}
		texts[f.file] = sound
	}
	for rule := range rules {
		for _, wrong := range check(parse(t, texts), rule) {
			t.Errorf("%s: %s", rule, wrong)
		}
		if !shown[rule] {
			t.Errorf("no fault shows that the rule %q finds one", rule)
		}
	}
}

// checkImports: what a stack imports from another, that one exports, under its own name, and is deployed before.
func checkImports(d deployment, report func(string, ...any)) {
	form := regexp.MustCompile(`ImportValue": !Sub "\$\{(Network|Data)Stack\}-(\w+)"`)
	for _, stack := range stacks {
		imports := form.FindAllStringSubmatch(d.text[stack], -1)
		if len(imports) != strings.Count(d.text[stack], "ImportValue") {
			report("%s: an import in a form of its own", stack)
		}
		for _, m := range imports {
			from := strings.ToLower(m[1])
			if slices.Index(stacks, from) >= slices.Index(stacks, stack) {
				report("%s comes before %s", stack, from)
			}
			if !strings.Contains(d.text[from], `Export: {Name: !Sub "${AWS::StackName}-`+m[2]+`"}`) {
				report("%s: %s exports no %s", stack, from, m[2])
			}
		}
	}
}

var (
	secretName = regexp.MustCompile(`(?i)(password|passwd|pwd|secret|token|private_?key|admin_?key)$`)
	secretText = regexp.MustCompile(`AKIA[0-9A-Z]{16}|-----BEGIN|libkey_[0-9A-Za-z]{46}|\{\{resolve:|(?i)(password|passwd|pwd|token|admin_?key)["']?\s*=\s*["']?[a-z0-9+/]{6,}|://[^/\s:@]+:[^/\s@{]+@`)
)

// checkSecrets: no password, key or token stands in a file, nor is one handed over as a parameter or a plain variable, nor looked
// up by CloudFormation ({{resolve:…}}), which would write it into the user data or an output.
func checkSecrets(d deployment, report func(string, ...any)) {
	for name, text := range d.text {
		if found := secretText.FindString(text); found != "" && name != "compose" { // its passwords serve to try it, and say so
			report("%s: %s", name, found)
		}
	}
	for stack, tree := range d.tree {
		parameters, _ := tree["Parameters"].(object)
		for name := range parameters {
			if secretName.MatchString(name) {
				report("%s: the parameter %s", stack, name)
			}
		}
		walk(tree["Resources"], func(o object) {
			for key, value := range o {
				if _, text := value.(string); text && secretName.MatchString(key) && key != "HttpTokens" {
					report("%s: %s", stack, key)
				}
			}
			if name, _ := o["Name"].(string); secretName.MatchString(name) && o["Value"] != nil { // what comes by ValueFrom is none
				report("%s: the variable %s", stack, name)
			}
		})
	}
}

// clients are everybody, or else the networks of ClientCidr.
const clients = "[IsNarrowed AWS::NoValue 0.0.0.0/0] or [IsNarrowed ClientNetworks.PrefixListId AWS::NoValue]"

// ways are all that packets may take: from and to groups and networks by a port, and from subnets to the world by a route.
// The clients come in by the balancer alone, HTTPS alone goes out to the world, and the data subnets lead nowhere.
var ways = []string{
	clients + " > WebSecurityGroup: tcp 80-80",
	clients + " > WebSecurityGroup: tcp 443-443",
	"WebSecurityGroup > AppSecurityGroup: tcp 8000-8000",
	"AppSecurityGroup > DatabaseSecurityGroup: tcp 3306-3306",
	"AppSecurityGroup > 0.0.0.0/0: tcp 443-443",
	"AppSecurityGroup > EndpointSecurityGroup: tcp 443-443",
	"AppSecurityGroup > ProxySecurityGroup: tcp 3306-3306",
	"ProxySecurityGroup > DatabaseSecurityGroup: tcp 3306-3306",
	"PublicRouteTable > InternetGateway", "PublicSubnet1 by PublicRouteTable", "PublicSubnet2 by PublicRouteTable",
	"AppRouteTable1 > NatGateway1", "AppSubnet1 by AppRouteTable1",
	"AppRouteTable2 > [IsProduction NatGateway2 NatGateway1]", "AppSubnet2 by AppRouteTable2",
	"DataSubnet1 by DataRouteTable", "DataSubnet2 by DataRouteTable",
}

func checkWays(d deployment, report func(string, ...any)) {
	given := func(p object, keys ...string) string { // all of them that are there; of a reference or an import, its name
		var names []string
		for _, key := range keys {
			if imported, ok := at(p[key], "Fn::ImportValue").(string); ok {
				names = append(names, strings.TrimSuffix(imported[strings.Index(imported, "-")+1:], "Id"))
			} else if p[key] != nil {
				names = append(names, fmt.Sprint(p[key]))
			}
		}
		return cmp.Or(strings.Join(names, " or "), "anywhere")
	}
	seen := map[string]bool{}
	for _, stack := range stacks {
		d.each(stack, func(id, kind string, p object) {
			port := fmt.Sprintf(": %v %v-%v", p["IpProtocol"], p["FromPort"], p["ToPort"])
			way := ""
			switch kind {
			case "AWS::EC2::SecurityGroup": // without a rule for what goes out, everything does
				if rules := list(p["SecurityGroupEgress"]); len(rules) != 1 || at(rules[0], "CidrIp") != "255.255.255.255/32" || p["SecurityGroupIngress"] != nil {
					report("%s: a rule inside, or none: %v %v", id, rules, p["SecurityGroupIngress"])
				}
			case "AWS::EC2::SecurityGroupIngress":
				way = given(p, "SourceSecurityGroupId", "CidrIp", "CidrIpv6", "SourcePrefixListId") + " > " + given(p, "GroupId") + port
			case "AWS::EC2::SecurityGroupEgress":
				way = given(p, "GroupId") + " > " + given(p, "DestinationSecurityGroupId", "CidrIp", "CidrIpv6", "DestinationPrefixListId") + port
			case "AWS::EC2::Route":
				way = given(p, "RouteTableId") + " > " + given(p, "GatewayId", "NatGatewayId")
			case "AWS::EC2::SubnetRouteTableAssociation":
				way = given(p, "SubnetId") + " by " + given(p, "RouteTableId")
			}
			if way != "" && !slices.Contains(ways, way) {
				report("%s: %s", id, way)
			}
			seen[way] = true
		})
	}
	for _, way := range ways {
		if !seen[way] {
			report("no %s", way)
		}
	}
}

// wide are the actions that AWS cannot narrow to a resource; those of ec2 are Lambda's own, in the name of a function in a VPC.
var wide = regexp.MustCompile(`^(ecr:GetAuthorizationToken|logs:DescribeLogGroups|xray:Put(TraceSegments|TelemetryRecords)|ec2:(Create|Delete|Describe)NetworkInterfaces?|ec2:DescribeSubnets|ec2:(Una|A)ssignPrivateIpAddresses)$`)

// checkRights: no role may everything, none but the task's reads the master's password, and none of the data's reads the root key.
func checkRights(d deployment, report func(string, ...any)) {
	managed := regexp.MustCompile(`/(AmazonSSMManagedInstanceCore|service-role/AmazonRDSEnhancedMonitoringRole)$`)
	for _, stack := range stacks {
		walk(d.tree[stack]["Resources"], func(o object) {
			for _, arn := range list(o["ManagedPolicyArns"]) {
				if !managed.MatchString(fmt.Sprint(arn)) {
					report("%s: a role has %v", stack, arn)
				}
			}
			if o["Effect"] != "Allow" {
				return
			}
			if o["Principal"] == "*" {
				report("%s allows everybody", stack)
			}
			for _, action := range list(o["Action"]) {
				if strings.Contains(fmt.Sprint(action), "*") {
					report("%s allows %s", stack, action)
				}
				if slices.Contains(list(o["Resource"]), any("*")) && !wide.MatchString(fmt.Sprint(action)) {
					report("%s allows %s on everything", stack, action)
				}
			}
		})
		if stack != "data" && strings.Contains(d.text[stack], "MasterUserSecret") {
			report("%s: it may read the master's password", stack)
		}
	}
	d.each("data", func(id, _ string, p object) { // neither the task nor the proxy
		if id != "AdminKeySecret" && strings.Contains(fmt.Sprint(p), "AdminKeySecret") {
			report("data: %s may read the root key", id)
		}
	})
}

func number(tree any, path string) int {
	n, _ := strconv.Atoi(fmt.Sprint(at(tree, path)))
	return n
}

// checkConnections: twice the group's maximum (a refresh doubles it), each with its pool and one for /readyz, the proxy's share
// and ten more fit into max_connections, in both sizes, and the alarm comes before; a connection for each function fits into
// that share.
func checkConnections(d deployment, report func(string, ...any)) {
	most := number(d.tree["app"], "Parameters/MaxInstances/Default")
	functions := 0 // as many as the template proposes
	if m := regexp.MustCompile(`to (\d+) for instance`).FindStringSubmatch(fmt.Sprint(at(d.tree["lambda"], "Parameters/ReservedConcurrency/Description"))); m != nil {
		functions, _ = strconv.Atoi(m[1])
	}
	percent := number(d.tree["data"], "Resources/DatabaseProxyTargets/Properties/ConnectionPoolConfigurationInfo/MaxConnectionsPercent")
	for _, production := range []string{"false", "true"} {
		pool := number(d.tree["app"], "Mappings/Size/"+production+"/Pool")
		limit := number(d.tree["data"], "Mappings/Size/"+production+"/MaxConnections")
		alarm := number(d.tree["data"], "Mappings/Size/"+production+"/ConnectionsAlarm")
		if need := 2*most*(pool+1) + limit*percent/100 + 10; pool < 1 || need > limit {
			report("Production %s: %d of %d connections", production, need, limit)
		}
		if alarm >= limit || alarm < limit/2 {
			report("Production %s: the alarm at %d of %d connections", production, alarm, limit)
		}
		if share := limit * percent / 100; functions < 1 || functions > share {
			report("%d functions for the proxy's %d connections", functions, share)
		}
	}
}

// source is all Go text of these folders.
func source(folders ...string) (text string) {
	for _, folder := range folders {
		names, _ := filepath.Glob("../" + folder + "/*.go")
		for _, name := range names {
			one, _ := os.ReadFile(name)
			text += string(one)
		}
	}
	return text
}

// checkAlarms: somebody hears of each alarm, and Prometheus' ask for metrics, codes and reasons that the program has.
func checkAlarms(d deployment, report func(string, ...any)) {
	for _, stack := range stacks {
		d.each(stack, func(id, kind string, p object) {
			if kind == "AWS::CloudWatch::Alarm" && (len(list(p["AlarmActions"])) == 0 || p["AlarmDescription"] == nil) {
				report("%s/%s tells nobody, or not what", stack, id)
			}
		})
	}
	emitted := source("metrics")
	for _, name := range regexp.MustCompile(`library_\w+`).FindAllString(d.text["alerts"], -1) {
		if !strings.Contains(emitted, strings.TrimSuffix(name, "_bucket")) {
			report("the program has no metric %s", name)
		}
	}
	values := source("library", "db")
	for _, m := range regexp.MustCompile(`(?:code|reason)="(\w+)"`).FindAllStringSubmatch(d.text["alerts"], -1) {
		if !strings.Contains(values, `"`+m[1]+`"`) {
			report("the program counts nothing as %s", m[1])
		}
	}
}

// checkUserData: the launch template carries deploy/ec2/user-data.sh to the letter, behind its settings, in what EC2 takes.
func checkUserData(d deployment, report func(string, ...any)) {
	header, values, carried := userData(d)
	script := d.text["user data"]
	if carried != script {
		report("it is not deploy/ec2/user-data.sh: make user-data")
	}
	if len(header)+len(script) > 14_000 { // 16 KB, less what the settings come to
		report("%d characters", len(header)+len(script))
	}
	if !strings.HasPrefix(header, "#!/bin/bash\n") {
		report("no interpreter in the first line")
	}
	for name := range values {
		if !strings.Contains(header, "${"+name+"}") {
			report("${%s} is not used", name)
		}
	}
	names := func(text, form string) (list []string) {
		for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	if set, taken := names(header, `(?m)^(\w+)='`), names(script, `(?m)^(\w+)=\$\{\w+:-`); !slices.Equal(set, taken) {
		report("the stack sets %v, the script takes %v", set, taken)
	}
}

// userData is what the launch template has: the settings' text with the values put into it, and the script behind.
func userData(d deployment) (header string, values object, script string) {
	parts := at(d.tree["app"], "Resources/LaunchTemplate/Properties/LaunchTemplateData/UserData/Fn::Base64/1")
	header, _ = at(parts, "0/0").(string)
	values, _ = at(parts, "0/1").(object)
	script, _ = at(parts, "1").(string)
	return header, values, script
}

// checkSettings: what the program is given by its environment, it takes.
func checkSettings(d deployment, report func(string, ...any)) {
	known := source("")
	takes := func(where, name string) {
		if name != "AWS_REGION" && !strings.Contains(known, `envconfig:"`+name+`"`) {
			report("%s: the program takes no %s", where, name)
		}
	}
	functions, _ := at(d.tree["lambda"], "Resources/Function/Properties/Environment/Variables").(object)
	for name := range functions {
		takes("template.yaml", name)
	}
	_, environment, _ := strings.Cut(d.text["user data"], "/etc/library/env <<ENV\n")
	environment, _, _ = strings.Cut(environment, "\nENV\n")
	_, compose, _ := strings.Cut(d.text["compose"], "  environment:\n")
	compose, _, _ = strings.Cut(compose, "\n  read_only:")
	for where, text := range map[string]string{"user-data.sh": environment, "docker-compose.yml": compose} {
		found := regexp.MustCompile(`(?m)^ *([A-Z_]+)[:=]`).FindAllStringSubmatch(text, -1)
		if len(found) < 5 {
			report("%s: no settings found", where)
		}
		for _, m := range found {
			takes(where, m[1])
		}
	}
}

// checkClosed: nothing that others can reach is open, unless whoever deploys it says so. The image listens on every address, by
// which the program knows to be closed; what compose starts open, this machine alone reaches.
func checkClosed(d deployment, report func(string, ...any)) {
	for _, name := range []string{"user data", "app", "image"} {
		if regexp.MustCompile(`(?m)^[^#\n]*\bAUTH[=:]`).MatchString(d.text[name]) {
			report("%s sets AUTH", name)
		}
	}
	access := at(d.tree["lambda"], "Outputs/Access/Value") // a tree of !If
	for place, want := range map[string]string{"0": "IsOpen", "1/0": "HasApi", "1/1": "OPEN: ", "1/2": "Open to whom IAM lets", "2/0": "HasPublicCatalogue", "2/1": "Books can be read", "2/2": "Closed: "} {
		if got := fmt.Sprint(at(access, place)); !strings.HasPrefix(got, want) {
			report("the function's stack says of itself that it is %s, not %s", got, want)
		}
	}
	if m := regexp.MustCompile(`ENV HOST=(\S+)`).FindStringSubmatch(d.text["image"]); m == nil || m[1] != "0.0.0.0" {
		report("the image listens on %v", m)
	}
	for _, m := range regexp.MustCompile(`(?m)^ *ports: *(.*)$`).FindAllStringSubmatch(d.text["compose"], -1) {
		if !regexp.MustCompile(`^\["\$\{PUBLISH:-127\.0\.0\.1\}:[^,]*"\]$`).MatchString(m[1]) {
			report("compose is open to all who reach %s", m[1])
		}
	}
	if !regexp.MustCompile(`(?m)^ *AUTH: \$\{AUTH:-\$\{PUBLISH:\+[^}]+\}\$\{PUBLISH:-off\}\}$`).MatchString(d.text["compose"]) {
		report("compose opens to others, by PUBLISH, without being told to")
	}
}

// checkTimeouts: whoever waits for somebody waits longer than that one may take.
func checkTimeouts(d deployment, report func(string, ...any)) {
	program := source("runtime", "handlers", "db", "db/connect")
	seconds := func(text, form string) float64 { // of the form's first group; in milliseconds, where it says so
		m := regexp.MustCompile(form).FindStringSubmatch(text)
		if m == nil {
			report("nothing is like %s", form)
			return 0
		}
		n, _ := strconv.ParseFloat(m[1], 64)
		if strings.HasSuffix(m[0], "Millisecond") {
			n /= 1000
		}
		return n
	}
	constant := func(name string) float64 {
		return seconds(program, `\b`+name+`\s*= (\d+) \* time\.(Second|Millisecond)`)
	}
	statement, request, keepAlive := constant("StatementTimeout"), constant("requestTimeout"), constant("idleTimeout")
	stop := 3 + constant("shutdownBound") // behind the default DRAIN_DELAY
	unit := seconds(d.text["user data"], `--stop-timeout (\d+)`)
	for _, step := range []struct {
		what       string
		less, more float64
	}{
		{"a lock's wait on RDS < a statement", seconds(d.text["data"], `innodb_lock_wait_timeout: "(\d+)"`), statement},
		{"a lock's wait in docker-compose.yml < a statement", seconds(d.text["compose"], `innodb-lock-wait-timeout=(\d+)`), statement},
		{"RDS Proxy's wait for a connection < a statement", seconds(d.text["data"], `ConnectionBorrowTimeout: (\d+)`), statement},
		{"a statement < a request", statement, request},
		{"a request < Lambda's", request, seconds(d.text["lambda"], `\n      Timeout: (\d+)`)},
		{"a request < haproxy's", request, seconds(d.text["haproxy"], `timeout server (\d+)s`)},
		{"a request < the balancer's deregistration", request, seconds(d.text["app"], `deregistration_delay.timeout_seconds, Value: "(\d+)"`)},
		{"the balancer's idle connections < the program's", seconds(d.text["app"], `idle_timeout.timeout_seconds, Value: "(\d+)"`), keepAlive},
		{"haproxy's idle connections < the program's", seconds(d.text["haproxy"], `timeout http-keep-alive (\d+)s`), keepAlive},
		{"a stop < docker's patience", stop, unit},
		{"a stop < compose's patience", stop, seconds(d.text["compose"], `stop_grace_period: (\d+)s`)},
		{"docker's patience < systemd's", unit, seconds(d.text["user data"], `TimeoutStopSec=(\d+)`)},
	} {
		if step.less >= step.more {
			report("%s: %v s and %v s", step.what, step.less, step.more)
		}
	}
}

// checkSize: the AWS CLI hands over a template of up to 51,200 bytes as it is; a longer one would need a bucket.
func checkSize(d deployment, report func(string, ...any)) {
	for _, stack := range stacks {
		if len(d.text[stack]) > 51_200 {
			report("%s has %d bytes", stack, len(d.text[stack]))
		}
	}
}
