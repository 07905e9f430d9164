package deploy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// property is one key property: what a resource has at a path, in the learner's size and, where it differs, in production's.
type property struct {
	template, resource, path string
	want, production         any
}

var sub = func(s string) any { return object{"Fn::Sub": s} }
var ref = func(s string) any { return object{"Ref": s} }

// properties are those without which the deployment is not what it says: highly available, private, watched.
var properties = []property{
	// Two zones.
	{"network", "PublicSubnet1", "Properties/AvailabilityZone/Fn::Select/0", 0, nil},
	{"network", "PublicSubnet2", "Properties/AvailabilityZone/Fn::Select/0", 1, nil},
	{"network", "AppSubnet1", "Properties/AvailabilityZone/Fn::Select/0", 0, nil},
	{"network", "AppSubnet2", "Properties/AvailabilityZone/Fn::Select/0", 1, nil},
	{"network", "DataSubnet1", "Properties/AvailabilityZone/Fn::Select/0", 0, nil},
	{"network", "DataSubnet2", "Properties/AvailabilityZone/Fn::Select/0", 1, nil},
	{"network", "NatGateway2", "Condition", "IsProduction", nil},
	{"network", "NatGateway1", "Properties/SubnetId", ref("PublicSubnet1"), nil},
	{"network", "NatGateway2", "Properties/SubnetId", ref("PublicSubnet2"), nil},
	{"network", "AppRoute2", "Properties/NatGatewayId", ref("NatGateway1"), ref("NatGateway2")},
	{"network", "FlowLog", "Properties/TrafficType", "ALL", nil},
	{"network", "FlowLog", "Properties/ResourceId", ref("Vpc"), nil},
	{"network", "S3Endpoint", "Properties/VpcEndpointType", "Gateway", nil},
	{"network", "SecretsManagerEndpoint", "Properties/ServiceName", sub("com.amazonaws.${AWS::Region}.secretsmanager"), nil},
	{"network", "LogsEndpoint", "Properties/ServiceName", sub("com.amazonaws.${AWS::Region}.logs"), nil},
	{"network", "SsmEndpoint", "Properties/ServiceName", sub("com.amazonaws.${AWS::Region}.ssm"), nil},
	{"network", "SsmMessagesEndpoint", "Properties/ServiceName", sub("com.amazonaws.${AWS::Region}.ssmmessages"), nil},
	{"network", "EcrApiEndpoint", "Properties/ServiceName", sub("com.amazonaws.${AWS::Region}.ecr.api"), nil},
	{"network", "EcrDockerEndpoint", "Properties/ServiceName", sub("com.amazonaws.${AWS::Region}.ecr.dkr"), nil},

	{"data", "Database", "DeletionPolicy", "Snapshot", nil},
	{"data", "Database", "UpdateReplacePolicy", "Snapshot", nil},
	{"data", "Database", "Properties/Engine", "mysql", nil},
	{"data", "Database", "Properties/EngineVersion", "8.4.9", nil},
	{"data", "Database", "Properties/AutoMinorVersionUpgrade", false, nil},
	{"data", "Database", "Properties/DBInstanceClass", "db.t4g.micro", "db.m7g.large"},
	{"data", "Database", "Properties/MultiAZ", true, nil},
	{"data", "Database", "Properties/StorageEncrypted", true, nil},
	{"data", "Database", "Properties/StorageType", "gp3", nil},
	{"data", "Database", "Properties/ManageMasterUserPassword", true, nil},
	{"data", "Database", "Properties/PubliclyAccessible", false, nil},
	{"data", "Database", "Properties/BackupRetentionPeriod", 7, 30},
	{"data", "Database", "Properties/DeletionProtection", false, true},
	{"data", "Database", "Properties/DeleteAutomatedBackups", true, false},
	{"data", "Database", "Properties/EnableCloudwatchLogsExports", []any{"error", "slowquery"}, nil},
	{"data", "Database", "Properties/MonitoringInterval", 60, nil},
	{"data", "Database", "Properties/CACertificateIdentifier", "rds-ca-rsa2048-g1", nil},
	{"data", "Database", "Properties/DBParameterGroupName", ref("ParameterGroup"), nil},
	{"data", "ParameterGroup", "Properties/Family", "mysql8.4", nil},
	{"data", "ParameterGroup", "Properties/Parameters/require_secure_transport", "1", nil},
	{"data", "ParameterGroup", "Properties/Parameters/innodb_lock_wait_timeout", "3", nil},
	{"data", "ParameterGroup", "Properties/Parameters/transaction_isolation", "READ-COMMITTED", nil},
	{"data", "ParameterGroup", "Properties/Parameters/slow_query_log", "1", nil},
	{"data", "DatabaseEvents", "Properties/SnsTopicArn", ref("Alerts"), nil},
	{"data", "DatabaseProxy", "Condition", "HasProxy", nil},
	{"data", "DatabaseProxy", "Properties/RequireTLS", true, nil},
	{"data", "DatabaseProxyTargets", "Properties/ConnectionPoolConfigurationInfo/ConnectionBorrowTimeout", 4, nil},
	{"data", "Task", "Properties/ContainerDefinitions/Name=migrate/Command", []any{"migrate", "up"}, nil},
	{"data", "Task", "Properties/ContainerDefinitions/Name=migrate/DependsOn/0/Condition", "SUCCESS", nil},

	{"app", "LoadBalancer", "Properties/LoadBalancerAttributes/Key=idle_timeout.timeout_seconds/Value", "60", nil},
	{"app", "LoadBalancer", "Properties/LoadBalancerAttributes/Key=routing.http.drop_invalid_header_fields.enabled/Value", "true", nil},
	{"app", "LoadBalancer", "Properties/LoadBalancerAttributes/Key=routing.http.desync_mitigation_mode/Value", "defensive", nil},
	{"app", "LoadBalancer", "Properties/LoadBalancerAttributes/Key=access_logs.s3.enabled/Value", "true", nil},
	{"app", "LogBucket", "DeletionPolicy", "Retain", nil},
	{"app", "LogBucket", "Properties/PublicAccessBlockConfiguration/BlockPublicPolicy", true, nil},
	{"app", "TargetGroup", "Properties/HealthCheckPath", "/livez", nil},
	{"app", "TargetGroup", "Properties/Port", 8000, nil},
	{"app", "TargetGroup", "Properties/HealthCheckIntervalSeconds", 10, nil},
	{"app", "TargetGroup", "Properties/HealthCheckTimeoutSeconds", 5, nil},
	{"app", "TargetGroup", "Properties/HealthyThresholdCount", 2, nil},
	{"app", "TargetGroup", "Properties/UnhealthyThresholdCount", 3, nil},
	{"app", "TargetGroup", "Properties/TargetGroupAttributes/Key=deregistration_delay.timeout_seconds/Value", "30", nil},
	{"app", "HttpListener", "Properties/DefaultActions/0/Fn::If/0", "HasCertificate", nil},
	{"app", "HttpListener", "Properties/DefaultActions/0/Fn::If/1/RedirectConfig/Protocol", "HTTPS", nil},
	{"app", "HttpsListener", "Condition", "HasCertificate", nil},
	{"app", "HttpsListener", "Properties/SslPolicy", "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", nil},
	{"app", "Firewall", "Properties/Rules/Name=rate/Statement/RateBasedStatement/Limit", 2000, nil},
	{"app", "Firewall", "Properties/Rules/Name=common/Statement/ManagedRuleGroupStatement/Name", "AWSManagedRulesCommonRuleSet", nil},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/ImageId", "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64", nil},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/InstanceType", "t4g.micro", "c7g.medium"},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/MetadataOptions/HttpTokens", "required", nil},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/MetadataOptions/HttpPutResponseHopLimit", 2, nil},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/KeyName", nil, nil},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/BlockDeviceMappings/0/Ebs/Encrypted", true, nil},
	{"app", "LaunchTemplate", "Properties/LaunchTemplateData/BlockDeviceMappings/0/Ebs/VolumeType", "gp3", nil},
	{"app", "Group", "CreationPolicy/ResourceSignal/Count", 2, nil},
	{"app", "Group", "UpdatePolicy/AutoScalingRollingUpdate/MinInstancesInService", 2, nil},
	{"app", "Group", "UpdatePolicy/AutoScalingRollingUpdate/WaitOnResourceSignals", true, nil},
	{"app", "Group", "UpdatePolicy/AutoScalingRollingUpdate/SuspendProcesses", []any{"HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification", "ScheduledActions", "InstanceRefresh"}, nil},
	{"app", "Group", "Properties/MinSize", 2, nil},
	{"app", "Group", "Properties/DesiredCapacity", nil, nil}, // so that it begins as MinSize, and is left alone later
	{"app", "Group", "Properties/MaxSize", 4, nil},
	{"app", "Group", "Properties/HealthCheckType", "ELB", nil},
	{"app", "Group", "Properties/HealthCheckGracePeriod", 180, nil},
	{"app", "ScaleOnRequests", "Properties/TargetTrackingConfiguration/PredefinedMetricSpecification/PredefinedMetricType", "ALBRequestCountPerTarget", nil},
	{"app", "ScaleOnCpu", "Properties/TargetTrackingConfiguration/PredefinedMetricSpecification/PredefinedMetricType", "ASGAverageCPUUtilization", nil},

	{"lambda", "Function", "Properties/Runtime", "provided.al2023", nil},
	{"lambda", "Function", "Properties/Architectures/0", "arm64", nil},
	{"lambda", "Function", "Properties/Timeout", 10, nil},
	{"lambda", "Function", "Properties/ReservedConcurrentExecutions", "10", nil},
	{"lambda", "Function", "Properties/VpcConfig/Fn::If/1/SubnetIds/Fn::Split/1/Fn::ImportValue/Fn::Sub", "${NetworkStack}-AppSubnets", nil},
	{"lambda", "Function", "Properties/VpcConfig/Fn::If/1/SecurityGroupIds/0/Fn::ImportValue/Fn::Sub", "${NetworkStack}-AppSecurityGroupId", nil},
	{"lambda", "Function", "Properties/Environment/Variables/DB_HOST/Fn::If/1/Fn::ImportValue/Fn::Sub", "${DataStack}-FunctionEndpoint", nil},
	{"lambda", "Function", "Properties/Environment/Variables/DB_SECRET_ARN/Fn::If/1/Fn::ImportValue/Fn::Sub", "${DataStack}-AppSecretArn", nil},
	{"lambda", "Api", "Type", "AWS::Serverless::HttpApi", nil},
}

func checkProperties(all templates, report func(string, ...any)) {
	for _, p := range properties {
		t := all[p.template]
		if t == nil {
			continue // TestTemplates says so
		}
		found := at(t.section("Resources")[p.resource], p.path)
		production := p.production
		if production == nil {
			production = p.want
		}
		for size, want := range map[string]any{"false": p.want, "true": production} {
			if got := t.eval(found, map[string]string{"Production": size}); !reflect.DeepEqual(got, want) {
				report("%s/%s/%s is %v with Production %s, not %v", p.template, p.resource, p.path, got, size, want)
			}
		}
	}
}

// TestPropertiesFault plants a fault in each key property in turn: gone, and another value. Each is found, and nothing else.
func TestPropertiesFault(t *testing.T) {
	texts := readFiles(t)
	sound, err := parse(texts)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range properties {
		if _, there := texts[p.template]; !there {
			continue
		}
		for name, plant := range map[string]func(parent object, key string){
			"gone":  func(parent object, key string) { delete(parent, key) },
			"other": func(parent object, key string) { parent[key] = "planted" },
		} {
			if p.want == nil && name == "gone" {
				continue
			}
			all, err := sound.with(p.template, texts[p.template])
			if err != nil {
				t.Fatal(err)
			}
			above, key := p.resource, p.path
			if i := strings.LastIndex(p.path, "/"); i >= 0 {
				above, key = p.resource+"/"+p.path[:i], p.path[i+1:]
			}
			parent := at(all[p.template].section("Resources"), above)
			if list, ok := parent.([]any); ok { // Fn::Select, Fn::If
				list[number(object{"n": key}, "n")] = "planted"
			} else {
				plant(parent.(object), key)
			}
			found := all.check("properties")
			where := fmt.Sprintf("properties: %s/%s/%s ", p.template, p.resource, p.path)
			if len(found) == 0 || !strings.HasPrefix(found[0], where) {
				t.Errorf("%s, %s: found %q", where, name, found)
			}
		}
	}
}
