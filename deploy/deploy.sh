#!/bin/bash
# Creates, updates and deletes the three stacks. "make deploy" and "make undeploy" call it; deploy/README.md explains it.
#
#   deploy/deploy.sh [-y] up         network, data, the schema's task, app; prints the URL. Shows each change first, and asks
#   deploy/deploy.sh [-y] down       app, data, network; leaves a last snapshot of the database
#   deploy/deploy.sh task ARGS…      the task once more, with other arguments of library migrate: status, adopt
#   deploy/deploy.sh [-y] rotate     a new password for the app's user, without a failed request
#   deploy/deploy.sh [-y] key ROLE NAME
#                                    makes a key (reader, desk or admin) for NAME, and prints it: it is not shown again
#   deploy/deploy.sh url             prints the URL
#
# -y, or YES=1, answers yes, except where data would be replaced: REPLACE_DATA=yes does that.
# Settings, from the environment; on an update, what is unset stays as it was:
#   NAME (library)  AWS_REGION (us-east-1)  IMAGE  PRODUCTION  CERTIFICATE  ALARM_EMAIL  PROXY  ARCH  SETTINGS  SNAPSHOT
#   INSTANCE_TYPE  MIN_INSTANCES  MAX_INSTANCES  DATABASE_CLASS  STORAGE  ENGINE_VERSION  ENGINE_FAMILY  VPC_PREFIX
#   LOG_DAYS  DATABASE_NAME  MAX_STORAGE  MASTER_SECRET  CLIENT_CIDR
#   URL: for key, the address to call, where it is not the stack's own: with CERTIFICATE, the name in it
set -euo pipefail # and nothing that macOS's old bash does not know
cd "$(dirname "$0")"

name=${NAME:-library}
network=$name-network data=$name-data app=$name-app lambda=$name-lambda
export AWS_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-us-east-1}}
export AWS_DEFAULT_REGION=$AWS_REGION AWS_PAGER=

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'deploy: %s\n' "$*" >&2; exit 1; }

yes=${YES:-}
ask() { # question
  [ -z "$yes" ] || return 0
  [ -t 0 ] || die "$1 Nobody is here to say so: -y says yes"
  local answer
  read -rp "$1 [y/N] " answer
  [[ $answer = [yY]* ]] || die "nothing more was done"
}

cfn() { aws cloudformation "$@"; }
status() { # stack; NONE only where AWS says that there is none, for an error is no absence
  local said
  if said=$(cfn describe-stacks --stack-name "$1" --query 'Stacks[0].StackStatus' --output text 2>&1); then
    echo "$said"
  elif [[ $said = *'does not exist'* ]]; then
    echo NONE
  else
    die "$said"
  fi
}

outputs= # lines of stack, output, value
load() { # stack: reads its outputs, once for all
  outputs+=$(cfn describe-stacks --stack-name "$1" --query 'Stacks[0].Outputs[].[OutputKey, OutputValue]' --output text | sed "s/^/$1 /")$'\n'
}
output() { # stack, output
  local stack key value found=
  while read -r stack key value; do
    [ "$stack $key" != "$1 $2" ] || found=$value # the last one read
  done <<<"$outputs"
  [ -n "$found" ] || die "the stack $1 has no output $2"
  echo "$found"
}

why() { # stack: what its last operation says went wrong
  cfn describe-stack-events --stack-name "$1" --output text \
    --query "StackEvents[?contains(ResourceStatus, 'FAILED')].[Timestamp, LogicalResourceId, ResourceStatusReason]" | sed -n 1,15p >&2
  die "$2"
}

gone() { # stack
  cfn delete-stack --stack-name "$1"
  cfn wait stack-delete-complete --stack-name "$1" || why "$1" "$1 could not be deleted"
}

# Of these types, a replacement or a removal loses what they hold.
kept='["AWS::RDS::DBInstance", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"]'

apply() { # stack, template, Parameter=value…
  local stack=$1 template=$2 said set lost state operation=update overrides=()
  shift 2
  [ $# = 0 ] || overrides=(--parameter-overrides "$@")
  say "$stack"
  state=$(status "$stack")
  case $state in
    NONE) operation=create ;;
    REVIEW_IN_PROGRESS | ROLLBACK_COMPLETE | ROLLBACK_FAILED | DELETE_FAILED) # a first try that made nothing
      gone "$stack"
      operation=create
      ;;
  esac
  said=$(cfn deploy --stack-name "$stack" --template-file "stack/$template" --capabilities CAPABILITY_IAM \
    --no-execute-changeset --no-fail-on-empty-changeset --tags "library=$name" "${overrides[@]+"${overrides[@]}"}" 2>&1) ||
    { grep -q 'No updates are to be performed' <<<"$said" || die "$stack: $said"; }
  set=$(grep -oE 'arn:[^ ]+:changeSet/[^ ]+' <<<"$said" | head -n 1) || { echo "nothing to change" >&2; return; }

  cfn describe-change-set --change-set-name "$set" --output table \
    --query 'Changes[].ResourceChange.{Action: Action, Resource: LogicalResourceId, Type: ResourceType, Replaced: Replacement}' >&2
  lost=$(cfn describe-change-set --change-set-name "$set" --output text --query "Changes[].ResourceChange |
    [?contains(\`$kept\`, ResourceType) && (Action == 'Remove' || Replacement == 'True' || Replacement == 'Conditional')].LogicalResourceId")
  if [ -n "$lost" ] && [ "${REPLACE_DATA:-}" != yes ]; then
    [ -z "$yes" ] || die "this may replace or remove $lost, and what is in it: REPLACE_DATA=yes says that it shall"
    ask "This may replace or remove $lost, AND WHAT IS IN IT. Do it all the same?"
  else
    ask "Do this to $stack?"
  fi

  cfn execute-change-set --stack-name "$stack" --change-set-name "$set"
  echo "waiting; a database or a rolling update takes its quarter of an hour" >&2
  cfn wait "stack-$operation-complete" --stack-name "$stack" ||
    why "$stack" "$stack is $(status "$stack"): what ran before runs on"
  [ "${PRODUCTION:-}" != true ] ||
    cfn update-termination-protection --enable-termination-protection --stack-name "$stack" >/dev/null
}

parameters=()
set_if() { [ -z "$2" ] || parameters+=("$1=$2"); } # what is unset stays as it was

version_of() { # staging label: the version of the app's secret that bears it
  aws secretsmanager list-secret-version-ids --secret-id "$(output "$data" AppSecretArn)" --output text \
    --query "Versions[?contains(VersionStages, '$1')].VersionId | [0]"
}
move_label() { # label, to version
  local from leaves=()
  from=$(version_of "$1")
  [ "$from" != "$2" ] || return 0
  [ "$from" = None ] || leaves=(--remove-from-version-id "$from")
  aws secretsmanager update-secret-version-stage --secret-id "$(output "$data" AppSecretArn)" \
    --version-stage "$1" --move-to-version-id "$2" "${leaves[@]+"${leaves[@]}"}" >/dev/null
}

# Runs the task: the app's user gets the pending password, then "library migrate ARGS".
run_task() {
  local arguments arn cluster failed container
  say "task: library migrate $*"
  arguments=$(printf '"%s",' migrate "$@")
  cluster=$(output "$data" ClusterName)
  arn=$(aws ecs run-task --cluster "$cluster" --task-definition "$(output "$data" TaskDefinition)" --launch-type FARGATE \
    --network-configuration "$(output "$network" TaskNetwork)" --query 'tasks[0].taskArn' --output text \
    --overrides "{\"containerOverrides\": [{\"name\": \"migrate\", \"command\": [${arguments%,}]}]}")
  [ "$arn" != None ] || die "the task did not start"
  for _ in 1 2 3 4 5 6; do # ten minutes each: a migration may take its time
    aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$arn" 2>/dev/null && break
  done
  for container in db-user migrate; do
    aws logs get-log-events --log-group-name "$(output "$data" TaskLogs)" --log-stream-name "task/$container/${arn##*/}" \
      --start-from-head --query 'events[].[message]' --output text 2>/dev/null | sed "s/^/$container: /" >&2 || true
  done
  # shellcheck disable=SC2016 # JMESPath writes a number in backquotes
  failed=$(aws ecs describe-tasks --cluster "$cluster" --tasks "$arn" --output text \
    --query 'tasks[0].containers[?exitCode != `0`].[name, exitCode, reason]')
  if [ -n "$failed" ]; then
    aws ecs describe-tasks --cluster "$cluster" --tasks "$arn" --query 'tasks[0].stoppedReason' --output text >&2
    die "the task failed ($failed); the instances were left as they are"
  fi
}

up() {
  local state
  state=$(status "$app")
  [ -n "${IMAGE:-}" ] || [ "$state" != NONE ] || die "IMAGE=… is needed the first time: the app's image, with its digest"

  parameters=()
  set_if Production "${PRODUCTION:-}"; set_if LogDays "${LOG_DAYS:-}"; set_if VpcPrefix "${VPC_PREFIX:-}"
  set_if ClientCidr "${CLIENT_CIDR:-}"
  apply "$network" network.yaml "${parameters[@]+"${parameters[@]}"}"

  parameters=("NetworkStack=$network")
  set_if Production "${PRODUCTION:-}"; set_if LogDays "${LOG_DAYS:-}"; set_if Image "${IMAGE:-}"; set_if Architecture "${ARCH:-}"
  set_if Proxy "${PROXY:-}"; set_if AlarmEmail "${ALARM_EMAIL:-}"; set_if Snapshot "${SNAPSHOT:-}"
  set_if DatabaseName "${DATABASE_NAME:-}"; set_if DatabaseClass "${DATABASE_CLASS:-}"; set_if Storage "${STORAGE:-}"; set_if MaxStorage "${MAX_STORAGE:-}"
  set_if MasterSecretArn "${MASTER_SECRET:-}"
  set_if EngineVersion "${ENGINE_VERSION:-}"; set_if EngineFamily "${ENGINE_FAMILY:-}"
  apply "$data" data.yaml "${parameters[@]}"

  load "$network"
  load "$data"
  # The task takes the pending version; outside a rotation, that is the current one.
  move_label AWSPENDING "$(version_of AWSCURRENT)"
  run_task up

  parameters=("NetworkStack=$network" "DataStack=$data")
  set_if Production "${PRODUCTION:-}"; set_if LogDays "${LOG_DAYS:-}"; set_if Image "${IMAGE:-}"; set_if Architecture "${ARCH:-}"
  set_if Ami "${ARCH:+/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-$ARCH}"
  set_if Settings "${SETTINGS:-}"; set_if Certificate "${CERTIFICATE:-}"; set_if InstanceType "${INSTANCE_TYPE:-}"
  set_if MinInstances "${MIN_INSTANCES:-}"; set_if MaxInstances "${MAX_INSTANCES:-}"
  apply "$app" app.yaml "${parameters[@]}"
  say "serving, with a key: deploy/deploy.sh key desk NAME makes one"
  load "$app"
  output "$app" Url
}

down() {
  local stack export_name other bucket='' database snapshot has_app has_data has_network
  has_app=$(status "$app")
  has_data=$(status "$data")
  has_network=$(status "$network")
  for stack in "$app" "$data" "$network"; do
    [ "$(cfn describe-stacks --stack-name "$stack" --query 'Stacks[0].EnableTerminationProtection' --output text 2>/dev/null)" != True ] ||
      die "$stack is protected. If it shall go: aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name $stack"
  done
  # Whoever else uses these, such as the SAM template's stack, goes first: its functions hold addresses in the subnets.
  for export_name in $(cfn list-exports --query "Exports[?starts_with(Name, '$network-') || starts_with(Name, '$data-')].Name" --output text); do
    for other in $(cfn list-imports --export-name "$export_name" --query 'Imports' --output text 2>/dev/null); do
      case $other in "$app" | "$data" | None) ;; *) die "delete the stack $other first: it uses $export_name" ;; esac
    done
  done

  if [ "$has_app" != NONE ]; then
    load "$app"
    bucket=$(output "$app" LogBucketName) || bucket=
    ask "Delete $app? Nobody is served from then on."
    say "$app"
    gone "$app"
    if [ -n "$bucket" ]; then
      ask "Delete the balancer's access logs as well (the bucket $bucket)?"
      aws s3 rb --force "s3://$bucket" >/dev/null
    fi
  fi
  if [ "$has_data" != NONE ]; then
    load "$data"
    database=$(output "$data" Database) || database=
    if [ -n "$database" ] && [ "$(aws rds describe-db-instances --db-instance-identifier "$database" --query 'DBInstances[0].DeletionProtection' --output text)" = True ]; then
      die "the database is protected. If it shall go: aws rds modify-db-instance --no-deletion-protection --db-instance-identifier $database"
    fi
    ask "Delete $data? The database goes, and its automatic backups; a last snapshot stays."
    say "$data"
    gone "$data"
    if [ -n "$database" ]; then
      snapshot=$(aws rds describe-db-snapshots --db-instance-identifier "$database" --snapshot-type manual --query 'DBSnapshots[].DBSnapshotIdentifier' --output text) || snapshot=
      say "kept, and paid for: the snapshot ${snapshot:-(none?)}. SNAPSHOT=… make deploy begins with it"
    fi
  fi
  if [ "$has_network" != NONE ]; then
    ask "Delete $network?"
    say "$network"
    gone "$network"
  fi
}

rotate() {
  local secret old new
  load "$network"
  load "$data"
  secret=$(output "$data" AppSecretArn)
  ask "Give the app's user of $data a new password?"
  old=$(version_of AWSCURRENT)
  # printf is the shell's own: the password is in no process's arguments.
  new=$(aws secretsmanager get-random-password --password-length 40 --exclude-punctuation --query RandomPassword --output text |
    { read -r password && printf '{"username": "library", "password": "%s"}' "$password"; } |
    aws secretsmanager put-secret-value --secret-id "$secret" --version-stages AWSPENDING --secret-string file:///dev/stdin --query VersionId --output text)
  run_task up # now both passwords are good
  move_label AWSCURRENT "$new"
  say "rotated from version $old to $new. The old password stays good until the next rotation"
}

# Makes a key by the root key, which stands in no process's arguments and in no environment: printf is the shell's own.
key() { # role, whose it is
  local role=$1 whose=$2 stack=$app url has_app has_data root said status
  case $role in reader | desk | admin) ;; *) die "$role is no role: reader, desk or admin" ;; esac
  case $whose in *[[:cntrl:]]*) die "the name may have no control characters" ;; esac
  whose=${whose//\\/\\\\} whose=${whose//\"/\\\"} # as JSON has it
  has_app=$(status "$app")
  has_data=$(status "$data")
  [ "$has_app" != NONE ] || stack=$lambda
  load "$stack"
  url=${URL:-$(output "$stack" Url)}
  if [ "$has_data" != NONE ]; then # otherwise the function's stack has made the secret itself
    stack=$data
    load "$data"
  fi
  root=$(aws secretsmanager get-secret-value --secret-id "$(output "$stack" AdminKeySecretArn)" --query SecretString --output text)
  case $url in
    https://*) ;;
    *) ask "$url is not https: who carries the packets can read the root key and the new one. Send them all the same?" ;;
  esac
  said=$(printf 'Authorization: Bearer %s\n' "$root" |
    curl --silent --show-error --max-time 30 --header @- --header 'Content-Type: application/json' \
      --data "{\"role\": \"$role\", \"name\": \"$whose\"}" --write-out '\n%{http_code}' "${url%/}/keys/") ||
    die "$url did not answer. A key may have been made: nobody has it, and \"library key list\" shows it"
  status=${said##*$'\n'}
  [ "$status" = 201 ] || die "$url answers $status: ${said%$'\n'*}"
  grep -oE 'libkey_[0-9A-Za-z]{46}' <<<"$said" || die "$url answers 201, but no key"
}

[ "${1:-}" != -y ] || { yes=1; shift; }
command=${1:-}
[ $# = 0 ] || shift
case $command in
  up | down | rotate) [ $# = 0 ] || die "$command takes no arguments"; "$command" ;;
  task) [ $# != 0 ] || die "task is followed by the arguments of library migrate"; load "$network"; load "$data"; run_task "$@" ;;
  key) [ $# = 2 ] || die "key is followed by a role (reader, desk or admin) and the name of whose it is"; key "$@" ;;
  url) load "$app"; output "$app" Url ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' deploy.sh >&2; exit 2 ;;
esac
