package deploy_test

import (
	"slices"
	"strings"
	"testing"
)

// faults are planted one at a time into the templates' texts; the rule that each is named after has to find it.
var faults = []struct {
	rule, template, old, new, finds string
}{
	{"schema", "data", "MultiAZ: true", "MultiAz: true", "has no MultiAz"},
	{"schema", "network", "Type: AWS::EC2::FlowLog", "Type: AWS::EC2::FlowLogs", "there is no type"},
	{"schema", "app", "      Scope: REGIONAL\n", "", "lacks Scope"},
	{"schema", "app", "Rules: [{ObjectOwnership: BucketOwnerEnforced}]", "Rules: BucketOwnerEnforced", "not array"},
	{"schema", "data", "DeletionPolicy: Snapshot", "DeletionPolicy: Keep", "not one of"},
	{"references", "app", "!Ref TargetGroup", "!Ref TargetGroups", "nothing is named TargetGroups"},
	{"references", "data", "!GetAtt MonitoringRole.Arn", "!GetAtt MonitoringRole.ARN", "has no ARN"},
	{"references", "data", "!GetAtt MonitoringRole.Arn", "!GetAtt Monitoring.Arn", "has no Arn"},
	{"references", "data", "!GetAtt Database.MasterUserSecret.SecretArn", "!GetAtt Database.MasterSecret.SecretArn", "has no MasterSecret.SecretArn"},
	{"references", "data", `"${AppSecret}:username:AWSPENDING:"`, `"${AppSecrets}:username:AWSPENDING:"`, "nothing is named AppSecrets"},
	{"references", "network", `"${VpcPrefix}.0.0/16"`, `"${Prefix}.0.0/16"`, "nothing is named Prefix"},
	{"references", "network", "Condition: IsProduction", "Condition: InProduction", "no condition InProduction"},
	{"references", "app", "!If [HasInstanceType,", "!If [HasType,", "no condition HasType"},
	{"references", "app", "!FindInMap [Size, !Ref Production, Pool]", "!FindInMap [Sizes, !Ref Production, Pool]", "no mapping Sizes"},
	{"references", "app", "DependsOn: HttpListener", "DependsOn: Listener", "depends on Listener"},
	{"references", "data", "!Ref LogDays", "30", "nobody uses LogDays"},
	{"references", "app", "DB_PORT='${Port}'", "DB_PORT='3306'", "does not use Port"},
	{"imports", "app", `"${NetworkStack}-PublicCidrs"`, `"${NetworkStack}-PublicCidr"`, "exports no PublicCidr"},
	{"imports", "app", `"${NetworkStack}-PublicCidrs"`, `"${DataStack}-PublicCidrs"`, "data exports no PublicCidrs"},
	{"imports", "network", "GroupId: !Ref WebSecurityGroup, IpProtocol", `GroupId: {"Fn::ImportValue": !Sub "${DataStack}-X"}, IpProtocol`, "imports from DataStack"},
	{"imports", "network", `Name: !Sub "${AWS::StackName}-AppSubnets"`, `Name: !Sub "${AWS::StackName}-Subnets"`, "exports no AppSubnets"},
	{"imports", "data", `Name: !Sub "${AWS::StackName}-AlertsArn"`, `Name: AlertsArn`, "without the stack's name"},
	{"schema", "lambda", "Runtime: provided.al2023", "Runtimes: provided.al2023", "has no Runtimes"},
	{"references", "lambda", "!GetAtt Role.Arn", "!GetAtt Roles.Arn", "has no Arn"},
	{"references", "lambda", "!Ref LogGroup", "!Ref Logs", "nothing is named Logs"},
	{"imports", "lambda", `"${DataStack}-FunctionEndpoint"`, `"${DataStack}-ProxyEndpoint"`, "exports no ProxyEndpoint"},
	{"secrets", "lambda", "DB_PORT: !If", "DB_PASSWORD: correct-horse\n          DB_PORT: !If", "holds a secret"},
	{"policies", "lambda", "Action: secretsmanager:GetSecretValue", "Action: secretsmanager:*", "allows secretsmanager:*"},
	{"secrets", "data", "ManageMasterUserPassword: true", "MasterUserPassword: correct-horse", "holds a secret"},
	{"secrets", "data", "  AlarmEmail:\n", "  MasterPassword:\n", "handed over as a parameter"},
	{"secrets", "data", "- {Name: DB_TLS, Value: rds}", "- {Name: DB_PASSWORD, Value: !Ref DatabaseName}", "in a plain variable"},
	{"secrets", "app", "STACK='${AWS::StackName}'", "DB_PASSWORD='correcthorse'", "looks like a secret"},
	{"secrets", "app", "STACK='${AWS::StackName}'", "DATABASE_URL=mysql://a:b@c/d", "looks like a secret"},
	{"ports", "network", "FromPort: 80, ToPort: 80, CidrIp", "FromPort: 22, ToPort: 22, CidrIp", "opens"},
	{"ports", "network", "FromPort: 80, ToPort: 80, CidrIp", "FromPort: 80, ToPort: 8080, CidrIp", "opens"},
	{"ports", "network", "FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0, Description: \"HTTPS from", "FromPort: 443, ToPort: 443, CidrIpv6: \"::/0\", Description: \"HTTPS from", "opens"},
	{"ports", "network", "FromPort: 3306, ToPort: 3306, SourceSecurityGroupId: !Ref AppSecurityGroup", "FromPort: 3306, ToPort: 3306, CidrIp: 0.0.0.0/0", "opens"},
	{"ports", "network", "FromPort: 3306, ToPort: 3306, SourceSecurityGroupId: !Ref AppSecurityGroup", "FromPort: 3306, ToPort: 3306, SourceSecurityGroupId: !Ref WebSecurityGroup", "opens"},
	{"ports", "network", "SourceSecurityGroupId: !Ref WebSecurityGroup", "CidrIp: 10.0.0.0/8", "opens"},
	{"ports", "network", `, Description: "HTTP from the world"`, "", "not described"},
	{"ports", "network", "      SecurityGroupEgress:\n", "      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0}]\n      SecurityGroupEgress:\n", "inside the group"},
	{"ports", "network", "MapPublicIpOnLaunch: false", "MapPublicIpOnLaunch: true", "public addresses"},
	{"ports", "data", "PubliclyAccessible: false", "PubliclyAccessible: true", "may be public"},
	{"egress", "network", "      SecurityGroupEgress:\n        - {IpProtocol: icmp, FromPort: 252, ToPort: 86, CidrIp: 255.255.255.255/32, Description: \"Nothing else\"}\n", "", "everything goes out"},
	{"egress", "network", "FromPort: 252, ToPort: 86, CidrIp: 255.255.255.255/32", "FromPort: 252, ToPort: 86, CidrIp: 0.0.0.0/0", "lets something out"},
	{"egress", "network", "FromPort: 3306, ToPort: 3306, DestinationSecurityGroupId: !Ref DatabaseSecurityGroup", "FromPort: 3306, ToPort: 3306, CidrIp: 0.0.0.0/0", "lets out to"},
	{"egress", "network", "IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0, Description: \"The image", "IpProtocol: \"-1\", FromPort: 0, ToPort: 65535, CidrIp: 0.0.0.0/0, Description: \"The image", "not one described port"},
	{"policies", "app", "Action: secretsmanager:GetSecretValue", "Action: secretsmanager:*", "allows secretsmanager:*"},
	{"policies", "app", `Resource: {"Fn::ImportValue": !Sub "${DataStack}-AppSecretArn"}`, `Resource: "*"`, "on everything"},
	{"policies", "app", "AmazonSSMManagedInstanceCore", "AmazonS3FullAccess", "AmazonS3FullAccess"},
	{"policies", "app", "# Below: deploy", "# Database.MasterUserSecret.SecretArn\n              # Below: deploy", "master's password"},
	{"routes", "network", "RouteTableId: !Ref DataRouteTable", "RouteTableId: !Ref AppRouteTable1", "goes by"},
	{"routes", "network", "RouteTableId: !Ref AppRouteTable1, DestinationCidrBlock", "RouteTableId: !Ref DataRouteTable, DestinationCidrBlock", "leads out of DataRouteTable"},
	{"routes", "network", "RouteTableId: !Ref PublicRouteTable, DestinationCidrBlock", "RouteTableId: !Ref AppRouteTable1, DestinationCidrBlock", "leads out of AppRouteTable1"},
	{"by the hour", "network", "    Type: AWS::EC2::VPCEndpoint\n    Condition: IsProduction\n", "    Type: AWS::EC2::VPCEndpoint\n", "without Production"},
	{"by the hour", "network", "    Type: AWS::EC2::NatGateway\n    Condition: IsProduction\n", "    Type: AWS::EC2::NatGateway\n", "2 NAT gateways"},
	{"by the hour", "app", "    Type: AWS::WAFv2::WebACL\n    Condition: IsProduction\n", "    Type: AWS::WAFv2::WebACL\n", "without Production"},
	{"connections", "app", `Intel: t3.micro, Pool: "6"`, `Intel: t3.micro, Pool: "10"`, "connections"},
	{"connections", "data", "MaxConnections: 600, ConnectionsAlarm: 480", "MaxConnections: 600, ConnectionsAlarm: 600", "the alarm"},
	{"alarms", "app", "ExtendedStatistic: p95", "Statistic: Average", "TargetResponseTimep95"},
	{"alarms", "data", "MetricName: FreeStorageSpace", "MetricName: DiskQueueDepth", "FreeStorageSpace"},
	{"alarms", "data", "      AlarmActions: [!Ref Alerts]\n", "", "tells nobody"},
	{"user data", "app", "--cap-drop ALL", "--cap-add ALL", "make user-data"},
	{"user data", "app", "SETTINGS='${Settings}'", "MORE='${Settings}'", "does not take MORE"},
	{"user data", "app", "                  RESOURCE='Group'\n", "", "does not set RESOURCE"},
	{"user data", "app", "                  #!/bin/bash\n                  REGION", "                  REGION", "no interpreter"},
	{"size", "network", "\nResources:\n", "\n#" + strings.Repeat("x", 60_000) + "\nResources:\n", "bytes"},
}

func TestFaults(t *testing.T) {
	texts := readFiles(t)
	sound, err := parse(texts)
	if err != nil {
		t.Fatal(err)
	}
	planted := map[string]bool{"properties": true} // TestPropertiesFault
	for _, f := range faults {
		planted[f.rule] = true
		t.Run(f.rule+"/"+f.finds, func(t *testing.T) {
			if _, there := texts[f.template]; !there {
				t.Skip("template.yaml is not there")
			}
			if !strings.Contains(texts[f.template], f.old) {
				t.Fatalf("%q is not in %s any more", f.old, f.template)
			}
			all, err := sound.with(f.template, strings.Replace(texts[f.template], f.old, f.new, 1))
			if err != nil {
				t.Fatal(err)
			}
			found := all.check(f.rule)
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, f.finds) }) {
				t.Errorf("found %q, not %q", found, f.finds)
			}
		})
	}
	for _, r := range rules {
		if !planted[r.name] {
			t.Errorf("no fault shows that the rule %q finds one", r.name)
		}
	}
}
