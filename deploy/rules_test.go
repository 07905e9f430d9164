package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A rule reports what is wrong with the deployment as a whole.
type rule struct {
	name  string
	check func(all templates, report func(format string, args ...any))
}

var rules = []rule{
	{"schema", checkSchema},
	{"references", checkReferences},
	{"imports", checkImports},
	{"secrets", checkSecrets},
	{"ports", checkPorts},
	{"egress", checkEgress},
	{"policies", checkPolicies},
	{"routes", checkRoutes},
	{"by the hour", checkByTheHour},
	{"connections", checkConnections},
	{"alarms", checkAlarms},
	{"user data", checkUserData},
	{"size", checkSize},
	{"properties", checkProperties},
}

func (all templates) check(only string) (found []string) {
	for _, r := range rules {
		if only == "" || only == r.name {
			r.check(all, func(format string, args ...any) { found = append(found, r.name+": "+fmt.Sprintf(format, args...)) })
		}
	}
	return found
}

func TestTemplates(t *testing.T) {
	all, err := parse(readFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	if all["lambda"] == nil {
		t.Log("template.yaml is not there: only the three stacks are held to the rules")
	}
	for _, wrong := range all.check("") {
		t.Error(wrong)
	}
}

// checkSchema: every resource is of a known type and has its properties, no others, of the right form.
func checkSchema(all templates, report func(string, ...any)) {
	for _, t := range all {
		if t.tree["AWSTemplateFormatVersion"] != "2010-09-09" || len(t.section("Resources")) == 0 {
			report("%s is no template", t.name)
		}
		for id, r := range t.section("Resources") {
			kind := asString(asObject(r)["Type"])
			s := definition(kind)
			if s == nil {
				report("%s/%s: there is no type %q", t.name, id, kind)
				continue
			}
			s.fits(withoutNewer(kind, asObject(r)), t.name+"/"+id, func(wrong string) { report("%s", wrong) })
		}
	}
}

// newer are properties that this release of the schemas does not know yet; cfn-lint does.
var newer = map[string][]string{
	"AWS::Lambda::Permission":   {"InvokedViaFunctionUrl"},
	"AWS::Serverless::Function": {"LoggingConfig"},
}

func withoutNewer(kind string, resource object) object {
	properties := maps.Clone(asObject(resource["Properties"]))
	for _, name := range newer[kind] {
		delete(properties, name)
	}
	copied := maps.Clone(resource)
	if properties != nil {
		copied["Properties"] = properties
	}
	return copied
}

// attributes are those that GetAtt takes here. The schemas do not name them: a new one is looked up and added.
var attributes = map[string][]string{
	"AWS::AutoScaling::AutoScalingGroup":        {},
	"AWS::EC2::EIP":                             {"AllocationId"},
	"AWS::EC2::LaunchTemplate":                  {"LatestVersionNumber"},
	"AWS::ElasticLoadBalancingV2::LoadBalancer": {"DNSName", "LoadBalancerFullName"},
	"AWS::ElasticLoadBalancingV2::TargetGroup":  {"TargetGroupFullName"},
	"AWS::IAM::InstanceProfile":                 {"Arn"},
	"AWS::IAM::Role":                            {"Arn"},
	"AWS::Lambda::Url":                          {"FunctionUrl"},
	"AWS::Lambda::Function":                     {"Arn"},
	"AWS::Logs::LogGroup":                       {"Arn"},
	"AWS::RDS::DBInstance":                      {"Endpoint.Address", "Endpoint.Port", "MasterUserSecret.SecretArn"},
	"AWS::RDS::DBProxy":                         {"Endpoint", "DBProxyArn"},
	"AWS::S3::Bucket":                           {"Arn"},
	"AWS::SQS::Queue":                           {"Arn"},
	"AWS::Serverless::Function":                 {"Arn"},
	"AWS::Serverless::HttpApi":                  {"ApiEndpoint"},
	"AWS::WAFv2::WebACL":                        {"Arn"},
}

// pseudo are the names that every template has, and those that SAM makes.
var pseudo = regexp.MustCompile(`^(AWS::(AccountId|NoValue|Partition|Region|StackId|StackName|URLSuffix)|Serverless(HttpApi|RestApi)(ApiGatewayDefaultStage)?)$`)

// conditional is where a condition or a DependsOn is the template's own, and not a property of that name.
var conditional = regexp.MustCompile(`^/(Resources|Outputs)/\w+$|^/Conditions/`)

var substitution = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

// checkReferences: what Ref, GetAtt, Sub, FindInMap, If, Condition and DependsOn name is there, and every parameter, mapping
// and condition is named by somebody.
func checkReferences(all templates, report func(string, ...any)) {
	for _, t := range all {
		used := map[string]bool{}
		resources := t.section("Resources")
		ref := func(path, name string) {
			used["Parameters/"+name] = true
			if t.section("Parameters")[name] == nil && resources[name] == nil && !pseudo.MatchString(name) && !madeBySAM(resources, name) {
				report("%s%s: nothing is named %s", t.name, path, name)
			}
		}
		getAtt := func(path, name, attribute string) {
			kind := asString(asObject(resources[name])["Type"])
			if known, ok := attributes[kind]; (!ok || !slices.Contains(known, attribute)) && !madeBySAM(resources, name) && !pseudo.MatchString(name) {
				report("%s%s: %s, a %q, has no %s", t.name, path, name, kind, attribute)
			}
		}
		walk(object{"Conditions": t.tree["Conditions"], "Resources": t.tree["Resources"], "Outputs": t.tree["Outputs"], "Globals": t.tree["Globals"]}, "", func(path string, v any) {
			o, _ := v.(object)
			for key, arg := range o {
				args := asList(arg)
				first := ""
				if len(args) > 0 {
					first = asString(args[0])
				}
				switch {
				case key == "Ref":
					ref(path, first)
				case key == "Fn::GetAtt" && len(args) == 2:
					getAtt(path, first, asString(args[1]))
				case key == "Fn::Sub":
					var own object
					if len(args) == 2 {
						own = asObject(args[1])
					}
					for _, m := range substitution.FindAllStringSubmatch(first, -1) {
						name, attribute, dotted := strings.Cut(m[1], ".")
						switch {
						case own[m[1]] != nil:
						case dotted:
							getAtt(path, name, attribute)
						default:
							ref(path, name)
						}
					}
					for name := range own {
						if !strings.Contains(first, "${"+name+"}") {
							report("%s%s: Sub does not use %s", t.name, path, name)
						}
					}
				case key == "Fn::If", key == "Condition" && first != "" && conditional.MatchString(path):
					used["Conditions/"+first] = true
					if t.section("Conditions")[first] == nil {
						report("%s%s: there is no condition %s", t.name, path, first)
					}
				case key == "Fn::FindInMap":
					used["Mappings/"+first] = true
					if t.section("Mappings")[first] == nil {
						report("%s%s: there is no mapping %s", t.name, path, first)
					}
				case key == "DependsOn" && conditional.MatchString(path):
					for _, d := range args {
						if resources[asString(d)] == nil {
							report("%s%s: depends on %s, which is not there", t.name, path, d)
						}
					}
				}
			}
		})
		for _, section := range []string{"Parameters", "Conditions", "Mappings"} {
			for name := range t.section(section) {
				if !used[section+"/"+name] {
					report("%s: nobody uses %s", t.name, name)
				}
			}
		}
	}
}

// madeBySAM is whether SAM makes a resource of this name beside one of the template's: a function's role or version.
func madeBySAM(resources object, name string) bool {
	for id, r := range resources {
		if kind := asString(asObject(r)["Type"]); strings.HasPrefix(kind, "AWS::Serverless::") && strings.HasPrefix(name, id) && name != id {
			return true
		}
	}
	return false
}

// checkImports: what a template imports from the stack that a parameter names, that stack exports; and none of them needs one
// that comes later.
func checkImports(all templates, report func(string, ...any)) {
	stacks := map[string]string{"NetworkStack": "network", "DataStack": "data"}
	may := map[string][]string{"network": nil, "data": {"network"}, "app": {"network", "data"}, "lambda": {"network", "data"}}
	exports := map[string]bool{}
	for _, t := range all {
		for _, o := range t.section("Outputs") {
			if name, ok := at(o, "Export/Name/Fn::Sub").(string); ok {
				exports[t.name+strings.TrimPrefix(name, "${AWS::StackName}")] = true
			} else if at(o, "Export") != nil {
				report("%s: an export without the stack's name", t.name)
			}
		}
	}
	form := regexp.MustCompile(`^\$\{(\w+)\}(-\w+)$`)
	for _, t := range all {
		walk(t.tree, "", func(path string, v any) {
			o, ok := v.(object)
			if _, is := o["Fn::ImportValue"]; !ok || !is {
				return
			}
			m := form.FindStringSubmatch(asString(at(v, "Fn::ImportValue/Fn::Sub")))
			switch {
			case m == nil:
				report("%s%s: an import in a form of its own", t.name, path)
			case !slices.Contains(may[t.name], stacks[m[1]]):
				report("%s%s: imports from %s", t.name, path, m[1])
			case !exports[stacks[m[1]]+m[2]]:
				report("%s%s: %s exports no %s", t.name, path, stacks[m[1]], m[2][1:])
			}
		})
	}
}

var (
	secretName  = regexp.MustCompile(`(?i)(password|passwd|pwd|secret|token|private_?key)s?$`)
	secretText  = regexp.MustCompile(`AKIA[0-9A-Z]{16}|-----BEGIN|(?i)(password|passwd|pwd|secret|token)["']?\s*[=:]\s*["']?[A-Za-z0-9+/]{6,}|://[^/\s:@]+:[^/\s@]+@`)
	secretKept  = regexp.MustCompile(`arn:aws[a-z-]*:secretsmanager:[^\s'"]*|\$\{[\w.]+\}:password:[A-Z]*:$`) // names one; does not tell it
	notSecret   = []string{"ManageMasterUserPassword", "GenerateSecretString", "HttpTokens", "Secrets", "ClientPasswordAuthType"}
	environment = []string{"Environment", "Variables"}
)

// checkSecrets: no password, key or token stands in a template, nor is one handed over as a parameter or a plain variable.
func checkSecrets(all templates, report func(string, ...any)) {
	for _, t := range all {
		for name := range t.section("Parameters") {
			if secretName.MatchString(name) {
				report("%s: %s is a secret handed over as a parameter", t.name, name)
			}
		}
		for section, tree := range t.tree {
			if section == "Parameters" || section == "Description" {
				continue
			}
			walk(tree, "/"+section, func(path string, v any) {
				switch v := v.(type) {
				case object:
					for key, value := range v {
						_, plain := value.(string)
						if secretName.MatchString(key) && plain && !slices.Contains(notSecret, key) {
							report("%s%s/%s holds a secret", t.name, path, key)
						}
					}
					name, _ := v["Name"].(string)
					for _, e := range environment {
						if strings.Contains(path, "/"+e+"/") && secretName.MatchString(name) {
							report("%s%s: %s is a secret in a plain variable", t.name, path, name)
						}
					}
				case string:
					if m := secretText.FindString(secretKept.ReplaceAllString(v, "")); m != "" {
						report("%s%s: %.20s… looks like a secret", t.name, path, m)
					}
				}
			})
		}
	}
}

// checkPorts: the world comes in by the balancer's 80 and 443 only, everybody else by a named group and one port.
func checkPorts(all templates, report func(string, ...any)) {
	allowed := map[string]int{ // group, and who may come: its port
		`{"Ref":"WebSecurityGroup"} 0.0.0.0/0 80`:                           1,
		`{"Ref":"WebSecurityGroup"} 0.0.0.0/0 443`:                          1,
		`{"Ref":"AppSecurityGroup"} {"Ref":"WebSecurityGroup"} 8000`:        1,
		`{"Ref":"DatabaseSecurityGroup"} {"Ref":"AppSecurityGroup"} 3306`:   1,
		`{"Ref":"EndpointSecurityGroup"} {"Ref":"AppSecurityGroup"} 443`:    1,
		`{"Ref":"ProxySecurityGroup"} network-AppSecurityGroupId 3306`:      1,
		`network-DatabaseSecurityGroupId {"Ref":"ProxySecurityGroup"} 3306`: 1,
	}
	seen := map[string]int{}
	for _, t := range all {
		t.ofType("AWS::EC2::SecurityGroup", func(id string, r object) {
			if at(r, "Properties/SecurityGroupIngress") != nil {
				report("%s/%s: a rule inside the group", t.name, id)
			}
			if at(r, "Properties/GroupDescription") == nil {
				report("%s/%s is not described", t.name, id)
			}
		})
		t.ofType("AWS::EC2::SecurityGroupIngress", func(id string, r object) {
			p := asObject(r["Properties"])
			source := p["SourceSecurityGroupId"]
			for _, k := range []string{"CidrIp", "CidrIpv6", "SourcePrefixListId"} {
				if p[k] != nil {
					source = p[k]
				}
			}
			way := fmt.Sprintf("%s %s %v", who(p["GroupId"]), who(source), p["FromPort"])
			if p["FromPort"] != p["ToPort"] || p["IpProtocol"] != "tcp" {
				way += fmt.Sprintf(" to %v by %v", p["ToPort"], p["IpProtocol"])
			}
			seen[way]++
			if seen[way] > allowed[way] {
				report("%s/%s opens %s", t.name, id, way)
			}
			if p["Description"] == nil {
				report("%s/%s is not described", t.name, id)
			}
		})
		for _, kind := range []string{"AWS::RDS::DBInstance", "AWS::EC2::Instance"} {
			t.ofType(kind, func(id string, r object) {
				if at(r, "Properties/PubliclyAccessible") != false {
					report("%s/%s may be public", t.name, id)
				}
			})
		}
		t.ofType("AWS::EC2::Subnet", func(id string, r object) {
			if at(r, "Properties/MapPublicIpOnLaunch") == true {
				report("%s/%s gives out public addresses", t.name, id)
			}
		})
	}
	for way := range allowed {
		if seen[way] == 0 {
			report("nothing opens %s", way)
		}
	}
}

// who is a group in a word: a reference, or what is imported from where.
func who(v any) string {
	if s, ok := at(v, "Fn::ImportValue/Fn::Sub").(string); ok {
		return strings.NewReplacer("${NetworkStack}", "network", "${DataStack}", "data").Replace(s)
	}
	if s, ok := v.(string); ok {
		return s
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// checkEgress: no group may call everywhere. What goes to the world is HTTPS from the app.
func checkEgress(all templates, report func(string, ...any)) {
	for _, t := range all {
		t.ofType("AWS::EC2::SecurityGroup", func(id string, r object) {
			rules := asList(at(r, "Properties/SecurityGroupEgress"))
			if len(rules) == 0 {
				report("%s/%s: without a rule, everything goes out", t.name, id)
			}
			for _, e := range rules {
				if at(e, "CidrIp") != "255.255.255.255/32" {
					report("%s/%s: a rule inside the group that lets something out", t.name, id)
				}
			}
		})
		t.ofType("AWS::EC2::SecurityGroupEgress", func(id string, r object) {
			p := asObject(r["Properties"])
			if p["IpProtocol"] != "tcp" || p["FromPort"] != p["ToPort"] || p["Description"] == nil {
				report("%s/%s is not one described port", t.name, id)
			}
			if p["DestinationSecurityGroupId"] == nil && !(p["CidrIp"] == "0.0.0.0/0" && p["FromPort"] == 443 && who(p["GroupId"]) == `{"Ref":"AppSecurityGroup"}`) {
				report("%s/%s lets out to %v", t.name, id, p["CidrIp"])
			}
		})
	}
}

// checkPolicies: no role may everything, and "on everything" is only what AWS cannot narrow.
func checkPolicies(all templates, report func(string, ...any)) {
	wide := []string{
		"ecr:GetAuthorizationToken", "logs:DescribeLogGroups", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
		// What Lambda does in a function's name, to put it into a VPC.
		"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
		"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
	}
	managed := regexp.MustCompile(`/(AmazonSSMManagedInstanceCore|service-role/AmazonRDSEnhancedMonitoringRole|service-role/AWSLambda\w+ExecutionRole)$`)
	for _, t := range all {
		walk(t.tree["Resources"], "/Resources", func(path string, v any) {
			o, ok := v.(object)
			if !ok || o["Effect"] != "Allow" {
				return
			}
			for _, a := range asList(o["Action"]) {
				action := asString(a)
				if strings.Contains(action, "*") {
					report("%s%s allows %s", t.name, path, action)
				}
				if slices.Contains(asList(o["Resource"]), any("*")) && !slices.Contains(wide, action) {
					report("%s%s allows %s on everything", t.name, path, action)
				}
			}
			if asString(o["Principal"]) == "*" {
				report("%s%s allows everybody", t.name, path)
			}
		})
		t.ofType("AWS::IAM::Role", func(id string, r object) {
			for _, arn := range asList(at(r, "Properties/ManagedPolicyArns")) {
				if s := asString(at(arn, "Fn::Sub")) + asString(arn); !managed.MatchString(s) {
					report("%s/%s has %s", t.name, id, s)
				}
			}
		})
	}
	for _, arn := range []string{"Database.MasterUserSecret.SecretArn", "MasterUserSecret"} {
		if app := all["app"]; app != nil && strings.Contains(app.text, arn) {
			report("app: an instance may read the master's password")
		}
	}
}

// checkRoutes: the data subnets lead nowhere, the app's lead to NAT, only the public ones to the internet.
func checkRoutes(all templates, report func(string, ...any)) {
	t := all["network"]
	tables := map[string]string{}
	t.ofType("AWS::EC2::SubnetRouteTableAssociation", func(id string, r object) {
		tables[asString(at(r, "Properties/SubnetId/Ref"))] = asString(at(r, "Properties/RouteTableId/Ref"))
	})
	for subnet, table := range map[string]string{
		"PublicSubnet1": "PublicRouteTable", "PublicSubnet2": "PublicRouteTable", "AppSubnet1": "AppRouteTable1",
		"AppSubnet2": "AppRouteTable2", "DataSubnet1": "DataRouteTable", "DataSubnet2": "DataRouteTable",
	} {
		if tables[subnet] != table {
			report("network: %s goes by %q", subnet, tables[subnet])
		}
	}
	for _, other := range all {
		other.ofType("AWS::EC2::Route", func(id string, r object) {
			table, gateway := asString(at(r, "Properties/RouteTableId/Ref")), at(r, "Properties/GatewayId") != nil
			if !(table == "PublicRouteTable" && gateway || strings.HasPrefix(table, "AppRouteTable") && !gateway && at(r, "Properties/NatGatewayId") != nil) {
				report("%s/%s leads out of %s", other.name, id, table)
			}
		})
	}
}

// checkByTheHour: what costs by the hour and a learner can do without comes with Production only.
func checkByTheHour(all templates, report func(string, ...any)) {
	gateways := 0
	for _, t := range all {
		t.ofType("AWS::EC2::VPCEndpoint", func(id string, r object) {
			if at(r, "Properties/VpcEndpointType") == "Interface" && r["Condition"] != "IsProduction" {
				report("%s/%s is there without Production", t.name, id)
			}
		})
		t.ofType("AWS::WAFv2::WebACL", func(id string, r object) {
			if r["Condition"] != "IsProduction" {
				report("%s/%s is there without Production", t.name, id)
			}
		})
		t.ofType("AWS::EC2::NatGateway", func(id string, r object) {
			if r["Condition"] != "IsProduction" {
				gateways++
			}
		})
	}
	if gateways != 1 {
		report("%d NAT gateways without Production", gateways)
	}
}

// checkConnections: twice the group's maximum (a refresh doubles it), each with its pool, the proxy's share and ten more fit
// into max_connections, in both sizes, and the alarm comes before.
func checkConnections(all templates, report func(string, ...any)) {
	most := number(all["app"].section("Parameters"), "MaxInstances/Default")
	share := number(all["data"].section("Resources"), "DatabaseProxyTargets/Properties/ConnectionPoolConfigurationInfo/MaxConnectionsPercent")
	for _, production := range []string{"false", "true"} {
		pool := number(all["app"].section("Mappings"), "Size/"+production+"/Pool")
		limit := number(all["data"].section("Mappings"), "Size/"+production+"/MaxConnections")
		alarm := number(all["data"].section("Mappings"), "Size/"+production+"/ConnectionsAlarm")
		if need := 2*most*pool + limit*share/100 + 10; pool < 1 || need > limit {
			report("Production %s: %d of %d connections", production, need, limit)
		}
		if alarm >= limit || alarm < limit/2 {
			report("Production %s: the alarm at %d of %d connections", production, alarm, limit)
		}
	}
}

func number(tree any, path string) (n int) {
	fmt.Sscan(fmt.Sprint(at(tree, path)), &n)
	return n
}

// checkAlarms: each of these is watched, and somebody hears of it.
func checkAlarms(all templates, report func(string, ...any)) {
	watched := map[string]bool{}
	for _, t := range all {
		t.ofType("AWS::CloudWatch::Alarm", func(id string, r object) {
			p := asObject(r["Properties"])
			if len(asList(p["AlarmActions"])) == 0 || p["AlarmDescription"] == nil {
				report("%s/%s tells nobody, or not what", t.name, id)
			}
			watched[t.name+" "+asString(p["MetricName"])+asString(p["ExtendedStatistic"])] = true
		})
	}
	for _, want := range []string{
		"app HTTPCode_Target_5XX_Count", "app HTTPCode_ELB_5XX_Count", "app UnHealthyHostCount", "app TargetResponseTimep95",
		"app GroupInServiceInstances", "data CPUUtilization", "data FreeStorageSpace", "data FreeableMemory", "data DatabaseConnections",
	} {
		if !watched[want] {
			report("nothing watches %s", want)
		}
	}
}

// checkUserData: the launch template carries deploy/ec2/user-data.sh to the letter, behind its settings, in what EC2 takes.
func checkUserData(all templates, report func(string, ...any)) {
	parts := asList(at(all["app"].section("Resources"), "LaunchTemplate/Properties/LaunchTemplateData/UserData/Fn::Base64/Fn::Join/1"))
	script, err := os.ReadFile("ec2/user-data.sh")
	if err != nil || len(parts) != 2 {
		report("%d parts, %v", len(parts), err)
		return
	}
	if asString(parts[1]) != string(script) {
		report("it is not deploy/ec2/user-data.sh: make user-data")
	}
	header := asString(at(parts[0], "Fn::Sub/0"))
	if len(header)+len(script) > 14_000 { // 16 KB, less what the settings come to
		report("%d characters", len(header)+len(script))
	}
	if !strings.HasPrefix(header, "#!/bin/bash\n") {
		report("no interpreter in the first line")
	}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=`).FindAllStringSubmatch(header, -1) {
		if !strings.Contains(string(script), m[1]+"=${"+m[1]+":-") {
			report("the script does not take %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=\$\{\w+:-`).FindAllStringSubmatch(string(script), -1) {
		if !strings.Contains(header, "\n"+m[1]+"='") {
			report("the stack does not set %s", m[1])
		}
	}
}

// checkSize: CloudFormation takes a template as it is up to 51,200 bytes; a longer one needs a bucket.
func checkSize(all templates, report func(string, ...any)) {
	for _, t := range all {
		if len(t.text) > 51_200 {
			report("%s has %d bytes", t.name, len(t.text))
		}
	}
}
