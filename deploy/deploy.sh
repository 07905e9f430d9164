#!/bin/bash
# Creates, updates and deletes the stacks. "make deploy" and "make undeploy" call it; deploy/README.md explains it.
#
#   deploy/deploy.sh [-y] up         network, data, the schema's task, app; prints the URL. Says first where, for whom and for
#                                    how much; shows each change, and asks
#   deploy/deploy.sh [-y] up --lambda
#                                    the function in place of the app: no balancer, no instances. Takes the SAM CLI, Go and make
#   deploy/deploy.sh [-y] down       function, app, data, network; leaves a last snapshot of the database
#   deploy/deploy.sh [-y] down app   the app alone (or lambda: the function alone); "up" brings it back
#   deploy/deploy.sh status          what runs, which version, what is open to whom, what it costs
#   deploy/deploy.sh task ARGS…      the task once more, with other arguments of library migrate: status, adopt
#   deploy/deploy.sh [-y] rotate     a new password for the app's user, without a failed request
#   deploy/deploy.sh [-y] key ROLE NAME
#                                    makes a key (reader, desk or admin) for NAME, and prints it: it is not shown again
#   deploy/deploy.sh url             prints the URL
#
# -y, or YES=1, answers yes, except where data would be replaced: REPLACE_DATA=yes does that.
# Settings, from the environment; on an update, what is unset stays as it was:
#   NAME (library)  IMAGE  PRODUCTION  CERTIFICATE  ALARM_EMAIL  PROXY  ARCH  SETTINGS  SNAPSHOT
#   INSTANCE_TYPE  MIN_INSTANCES  MAX_INSTANCES  DATABASE_CLASS  STORAGE  ENGINE_VERSION  ENGINE_FAMILY  VPC_PREFIX
#   LOG_DAYS  DATABASE_NAME  MAX_STORAGE  MASTER_SECRET  CLIENT_CIDR
#   AWS_REGION: the region, of "up" remembered for later commands; unset at first, the profile's
#   URL: for key and status, the address to call, where it is not the stack's own: with CERTIFICATE, the name in it
set -euo pipefail # and nothing that macOS's old bash does not know
cd "$(dirname "$0")"

name=${NAME:-library}
network=$name-network data=$name-data app=$name-app lambda=$name-lambda
export AWS_PAGER=

say() { printf '\n== %s\n' "$*" >&2; }
tell() { printf '%s\n' "$*" >&2; }
die() { printf 'deploy: %s\n' "$*" >&2; exit 1; }

yes=${YES:-}
agreed() { # question: whether the answer is yes
  [ -z "$yes" ] || return 0
  [ -t 0 ] || die "$1 Nobody is here to say so: -y says yes"
  local answer
  read -rp "$1 [y/N] " answer
  [[ $answer = [yY]* ]]
}
ask() { agreed "$1" || die "nothing more was done"; }

# ---- Where

# The region that "up" used last is kept for later commands, with its account: for whom it was named once, it need not be again.
remembered=${HOME:-/tmp}/.local/state/library-management/$name
account='' caller='' region_from=''
locate() { # finds the account and the region, or says what is missing
  local kept_account='' kept_region=''
  AWS_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
  region_from="of the environment"
  if [ -z "$AWS_REGION" ] && [ -r "$remembered" ]; then
    read -r kept_account kept_region <"$remembered"
    AWS_REGION=$kept_region region_from="of the last deployment"
  fi
  [ -n "$AWS_REGION" ] || { AWS_REGION=$(aws configure get region) && region_from="of the profile"; } ||
    die "which region? AWS_REGION=eu-west-3, or \"aws configure set region eu-west-3\""
  export AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION
  account=$(aws sts get-caller-identity --query '[Account, Arn]' --output text) || die "the AWS CLI is not signed in"
  read -r account caller <<<"$account"
  [ -z "$kept_account" ] || [ "$kept_account" = "$account" ] ||
    die "the last deployment of $name was to the account $kept_account, and this is $account: say which region with AWS_REGION=…"
}
remember() { # the region; a home that cannot be written to costs no more than the memory
  { mkdir -p "${remembered%/*}" && echo "$account $AWS_REGION" >"$remembered"; } 2>/dev/null || true
}

# ---- What is there

cfn() { aws cloudformation "$@"; }

known= # lines of stack, name of an output, of a parameter, State or Protected, and value
load() { # stack: reads it. Its state is NONE only where AWS says that there is none, for an error is no absence
  local said
  if said=$(cfn describe-stacks --stack-name "$1" --output text --query "Stacks[0].[[['State', StackStatus], \
    ['Protected', EnableTerminationProtection]], Outputs[].[OutputKey, OutputValue], Parameters[].[ParameterKey, ParameterValue]][]" 2>&1); then
    known+=$(awk -v stack="$1" '{ print stack, $0 }' <<<"$said")$'\n'
  elif [[ $said = *'does not exist'* ]]; then
    known+="$1 State NONE"$'\n'
  else
    die "$said"
  fi
}
value() { # stack, name, what it is where it is not known (or this fails): of a stack that was loaded
  local stack key value found=
  while read -r stack key value; do
    [ "$stack $key" != "$1 $2" ] || found=$value # the last one read
  done <<<"$known"
  found=${found:-${3-}}
  [ -n "$found" ] || [ $# = 3 ] || die "the stack $1 has no $2 in $AWS_REGION of the account $account${region_from:+ (the region $region_from)}"
  echo "$found"
}
there() { [ "$(value "$1" State)" != NONE ]; }
anew() { # stack: whether "up" begins with nothing, or with a first try that made nothing
  case $(value "$1" State) in NONE | REVIEW_IN_PROGRESS | ROLLBACK_COMPLETE | ROLLBACK_FAILED | DELETE_FAILED) ;; *) return 1 ;; esac
}
becomes() { # stack, parameter, what the environment says, the template's default: what "up" leads to
  if anew "$1"; then echo "${3:-$4}"; else echo "${3:-$(value "$1" "$2" "$4")}"; fi
}
need() { # stack
  load "$1"
  there "$1" || die "the stack $1 does not exist in $AWS_REGION, the region $region_from, in the account $account"
}

# US cents a month; the sums stand in deploy/README.md, Costs, with what they are made of, and a test compares the two.
price() { # PRODUCTION, stacks and "proxy"…: dollars a month
  local production=$1 part cents=0
  shift
  for part; do
    case $part-$production in
      "$network-true") ((cents += 16060)) ;; "$network-"*) ((cents += 3650)) ;;
      "$data-true") ((cents += 25838)) ;; "$data-"*) ((cents += 3056)) ;;
      "$app-true") ((cents += 9595)) ;; "$app-"*) ((cents += 3934)) ;;
      "$lambda-"*) ((cents += 180)) ;;
      proxy-*) ((cents += 2190)) ;;
    esac
  done
  echo "about $(((cents + 50) / 100)) US dollars a month (idle, the size's own classes, us-east-1's list: deploy/README.md, Costs)"
}

# Who reaches what, in words. What AUTH and PUBLIC_CATALOGUE are is read from the settings, as the program does.
audience() { # stack, the app's settings, networks, certificate
  local who=everybody how=HTTPS
  if [ "$1" = "$app" ]; then
    [ "$3" = 0.0.0.0/0 ] || who=$3
    [ -n "$4" ] || how="plain HTTP: who carries the packets can read keys and members (CERTIFICATE=… gives HTTPS)"
  fi
  case " $2 " in
    *" AUTH=off "*) echo "$who, WITHOUT A KEY (AUTH=off): who reaches it may read and change everything; over $how" ;;
    *" PUBLIC_CATALOGUE=on "*) echo "$who, for the books; for the rest whoever has a key; over $how" ;;
    *) echo "$who who has a key; over $how" ;;
  esac
}
settings_of() { # stack: the app's settings that it has
  if [ "$1" = "$lambda" ]; then
    echo "AUTH=$(value "$1" Auth '') PUBLIC_CATALOGUE=$(value "$1" PublicCatalogue '')"
  else
    value "$1" Settings ''
  fi
}

where() { tell "account  $account, as $caller"; tell "region   $AWS_REGION, $region_from"; }

plan() { # stack that serves: what "up" is about to do
  local stack settings parts=("$network" "$data" "$1") other=$lambda
  where
  for stack in "${parts[@]}"; do
    if anew "$stack"; then tell "stack    $stack, new"; else tell "stack    $stack, $(value "$stack" State)"; fi
  done
  [ "$1" = "$app" ] || other=$app
  if there "$other"; then
    tell "         $other stays as it is: \"deploy/deploy.sh down ${other##*-}\" deletes it"
    parts+=("$other")
  fi
  if [ "$1" = "$lambda" ]; then
    settings="${SETTINGS:-} $(anew "$1" || settings_of "$1")"
    case " $settings" in *" AUTH=keys"*) settings=${settings//AUTH=off/} ;; esac
  else
    settings=$(becomes "$1" Settings "${SETTINGS:-}" '')
  fi
  tell "open to  $(audience "$1" "$settings" "$(becomes "$network" ClientCidr "${CLIENT_CIDR:-}" 0.0.0.0/0)" "$(becomes "$app" Certificate "${CERTIFICATE:-}" '')")"
  tell "keys     \"deploy/deploy.sh key desk NAME\" makes the first, and shows it once"
  [ "$(becomes "$data" Proxy "${PROXY:-}" false)" != true ] || parts+=(proxy)
  tell "costs    $(price "$(becomes "$network" Production "${PRODUCTION:-}" false)" "${parts[@]}")"
}

costs() { # of what is there now; nothing is said where nothing is
  local stack parts=()
  for stack in "$network" "$data" "$app" "$lambda"; do
    load "$stack"
    ! there "$stack" || parts+=("$stack")
  done
  [ ${#parts[@]} != 0 ] || return 0
  [ "$(value "$data" Proxy false)" != true ] || ! there "$data" || parts+=(proxy)
  tell "costs    $(price "$(value "$network" Production false)" "${parts[@]}"): ${parts[*]}"
}

physical() { # stack, resource: its name at AWS; nothing where there is none
  local id
  id=$(cfn describe-stack-resources --stack-name "$1" --logical-resource-id "$2" --query 'StackResources[0].PhysicalResourceId' --output text 2>/dev/null) || return 0
  [ "$id" = None ] || echo "$id"
}

# A restore leaves the database from before beside the stack's: it costs, and holds on to the subnets.
other_databases() { # the stack's database
  local group
  group=$(physical "$data" SubnetGroup)
  [ -z "$group" ] || aws rds describe-db-instances --output text \
    --query "DBInstances[?DBSubnetGroup.DBSubnetGroupName == '$group' && DBInstanceIdentifier != '$1'].DBInstanceIdentifier"
}

# ---- Changes

why() { # stack: what its last operation says went wrong
  cfn describe-stack-events --stack-name "$1" --output text \
    --query "StackEvents[?contains(ResourceStatus, 'FAILED')].[Timestamp, LogicalResourceId, ResourceStatusReason]" | sed -n 1,15p >&2
  die "$2"
}

gone() { # stack
  cfn delete-stack --stack-name "$1"
  cfn wait stack-delete-complete --stack-name "$1" || why "$1" "$1 could not be deleted"
}

# The bucket of the balancer's logs outlives its stack, for it may hold what somebody wants. That of a stack that was never made
# holds the balancer's test file.
drop_bucket() { # bucket, or nothing
  [ -z "$1" ] || aws s3 rb --force "s3://$1" >/dev/null || tell "the bucket $1 could not be deleted: aws s3 rb --force s3://$1"
}

# Of these types, a replacement or a removal loses what they hold.
kept='["AWS::RDS::DBInstance", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"]'

apply() { # stack, template, Parameter=value…
  local stack=$1 template=$2 said set lost bucket operation=update overrides=()
  shift 2
  [ $# = 0 ] || overrides=(--parameter-overrides "$@")
  say "$stack"
  load "$stack"
  if anew "$stack"; then
    operation=create
    if there "$stack"; then
      bucket=$(physical "$stack" LogBucket)
      gone "$stack"
      drop_bucket "$bucket"
    fi
  fi
  said=$(cfn deploy --stack-name "$stack" --template-file "$template" --capabilities CAPABILITY_IAM \
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
    ask "Do this to $stack, in $AWS_REGION of the account $account?"
  fi

  cfn execute-change-set --stack-name "$stack" --change-set-name "$set"
  echo "waiting; a database or a rolling update takes its quarter of an hour" >&2
  if ! cfn wait "stack-$operation-complete" --stack-name "$stack"; then
    [ $operation = update ] || drop_bucket "$(physical "$stack" LogBucket)"
    load "$stack"
    why "$stack" "$stack is $(value "$stack" State): what ran before runs on"
  fi
  [ "${PRODUCTION:-}" != true ] ||
    cfn update-termination-protection --enable-termination-protection --stack-name "$stack" >/dev/null
}

parameters=()
set_if() { [ -z "$2" ] || parameters+=("$1=$2"); } # what is unset stays as it was

version_of() { # staging label: the version of the app's secret that bears it
  aws secretsmanager list-secret-version-ids --secret-id "$(value "$data" AppSecretArn)" --output text \
    --query "Versions[?contains(VersionStages, '$1')].VersionId | [0]"
}
move_label() { # label, to version
  local from leaves=()
  from=$(version_of "$1")
  [ "$from" != "$2" ] || return 0
  [ "$from" = None ] || leaves=(--remove-from-version-id "$from")
  aws secretsmanager update-secret-version-stage --secret-id "$(value "$data" AppSecretArn)" \
    --version-stage "$1" --move-to-version-id "$2" "${leaves[@]+"${leaves[@]}"}" >/dev/null
}

# Runs the task: the app's user gets the pending password, then "library migrate ARGS".
run_task() {
  local arguments arn cluster failed container
  say "task: library migrate $*"
  arguments=$(printf '"%s",' migrate "$@")
  cluster=$(value "$data" ClusterName)
  arn=$(aws ecs run-task --cluster "$cluster" --task-definition "$(value "$data" TaskDefinition)" --launch-type FARGATE \
    --network-configuration "$(value "$network" TaskNetwork)" --query 'tasks[0].taskArn' --output text \
    --overrides "{\"containerOverrides\": [{\"name\": \"migrate\", \"command\": [${arguments%,}]}]}")
  [ "$arn" != None ] || die "the task did not start"
  for _ in 1 2 3 4 5 6; do # ten minutes each: a migration may take its time
    aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$arn" 2>/dev/null && break
  done
  for container in db-user migrate; do
    aws logs get-log-events --log-group-name "$(value "$data" TaskLogs)" --log-stream-name "task/$container/${arn##*/}" \
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

check_image() { # image, architecture: before anything is made that costs
  local said status=0
  say "looking for $1"
  said=$(./check-image.sh "$1" "$2" 2>&1) || status=$?
  case $status in
    0) ;;
    1) die "$said. Nothing was made or changed" ;;
    *) ask "$said. So it is not known whether the task can pull it. Go on all the same?" ;;
  esac
}

# SETTINGS as parameters of the function's template: LOAN_DAYS=21 is LoanDays=21.
function_settings() {
  local setting words parameter
  read -ra words <<<"${SETTINGS:-}"
  for setting in "${words[@]+"${words[@]}"}"; do
    parameter=$(awk -F_ '{ for (i = 1; i <= NF; i++) printf "%s%s", substr($i, 1, 1), tolower(substr($i, 2)) }' <<<"${setting%%=*}")
    [ "$parameter" != TzName ] || parameter=TimeZone
    grep -q "^  $parameter:" ../template.yaml || die "SETTINGS: template.yaml takes no ${setting%%=*}"
    parameters+=("$parameter=${setting#*=}")
  done
}

up() { # nothing: with the app; --lambda: with the function in its place
  local target=$app stack template=../.aws-sam/packaged.yaml
  [ $# = 0 ] || target=$lambda
  for stack in "$network" "$data" "$app" "$lambda"; do load "$stack"; done
  if [ "$target" = "$app" ] && anew "$app"; then # when it comes back, it is as what it belongs to
    IMAGE=${IMAGE:-$(value "$data" Image '')} ARCH=${ARCH:-$(value "$data" Architecture '')} PRODUCTION=${PRODUCTION:-$(value "$network" Production '')}
  fi
  [ -n "${IMAGE:-}" ] || ! anew "$data" || die "IMAGE=… is needed the first time: the app's image, with its digest"
  if [ "$target" = "$lambda" ]; then
    ! anew "$data" || PROXY=${PROXY:-true} # each of the function's instances has a connection
    for stack in sam go make; do
      command -v "$stack" >/dev/null || die "up --lambda takes the SAM CLI, Go and make: there is no $stack"
    done
  fi

  plan "$target"
  [ -z "${IMAGE:-}${ARCH:-}" ] ||
    check_image "$(becomes "$data" Image "${IMAGE:-}" '')" "$(becomes "$data" Architecture "${ARCH:-}" arm64)"
  if [ "$target" = "$lambda" ]; then
    parameters=()
    function_settings
    say "building the function"
    (cd .. && sam build >/dev/null) # which ends with advice that is not for here
  fi

  parameters=()
  set_if Production "${PRODUCTION:-}"; set_if LogDays "${LOG_DAYS:-}"; set_if VpcPrefix "${VPC_PREFIX:-}"
  set_if ClientCidr "${CLIENT_CIDR:-}"
  apply "$network" stack/network.yaml "${parameters[@]+"${parameters[@]}"}"
  remember

  parameters=("NetworkStack=$network")
  set_if Production "${PRODUCTION:-}"; set_if LogDays "${LOG_DAYS:-}"; set_if Image "${IMAGE:-}"; set_if Architecture "${ARCH:-}"
  set_if Proxy "${PROXY:-}"; set_if AlarmEmail "${ALARM_EMAIL:-}"; set_if Snapshot "${SNAPSHOT:-}"
  set_if DatabaseName "${DATABASE_NAME:-}"; set_if DatabaseClass "${DATABASE_CLASS:-}"; set_if Storage "${STORAGE:-}"; set_if MaxStorage "${MAX_STORAGE:-}"
  set_if MasterSecretArn "${MASTER_SECRET:-}"
  set_if EngineVersion "${ENGINE_VERSION:-}"; set_if EngineFamily "${ENGINE_FAMILY:-}"
  apply "$data" stack/data.yaml "${parameters[@]}"

  load "$network"
  load "$data"
  # The task takes the pending version; outside a rotation, that is the current one.
  move_label AWSPENDING "$(version_of AWSCURRENT)"
  run_task up

  parameters=("NetworkStack=$network" "DataStack=$data")
  set_if LogDays "${LOG_DAYS:-}"
  if [ "$target" = "$lambda" ]; then
    function_settings
    say "uploading the function" # to SAM's bucket in this account and region, which it makes the first time
    (cd .. && sam package --resolve-s3 --s3-prefix "$lambda" --region "$AWS_REGION" --no-progressbar --output-template-file .aws-sam/packaged.yaml >/dev/null)
  else
    template=stack/app.yaml
    set_if Production "${PRODUCTION:-}"; set_if Image "${IMAGE:-}"; set_if Architecture "${ARCH:-}"
    set_if Ami "${ARCH:+/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-$ARCH}"
    set_if Settings "${SETTINGS:-}"; set_if Certificate "${CERTIFICATE:-}"; set_if InstanceType "${INSTANCE_TYPE:-}"
    set_if MinInstances "${MIN_INSTANCES:-}"; set_if MaxInstances "${MAX_INSTANCES:-}"
  fi
  apply "$target" "$template" "${parameters[@]}"

  load "$target"
  say "serving $(audience "$target" "$(settings_of "$target")" "$(value "$network" ClientCidr 0.0.0.0/0)" "$(value "$target" Certificate '')")"
  tell "the first key, shown once: deploy/deploy.sh key desk NAME"
  [ "$(aws configure get region)" = "$AWS_REGION" ] || tell "for commands other than this one: export AWS_REGION=$AWS_REGION"
  value "$target" Url
}

kept_too= # what costs on though its stack is gone
left() { # what is still there, and costs
  known=
  costs
  [ -z "$kept_too" ] || tell "kept, and paid for by the GB:$kept_too"
}
delete() { # stack, question
  agreed "$2" || { left; die "nothing more was done"; }
  say "$1"
  gone "$1"
}

down() { # all, or app or lambda alone
  local stack which=${1:-} going='' export_name other bucket='' database='' others snapshot
  for stack in "$lambda" "$app" "$data" "$network"; do
    load "$stack"
    case $which in app | lambda) [ "$stack" = "$name-$which" ] || continue ;; esac
    ! there "$stack" || going+=" $stack"
  done
  where
  tell "deletes ${going:- nothing: it is not there}"
  costs
  for stack in $going; do
    [ "$(value "$stack" Protected)" != True ] ||
      die "$stack is protected. If it shall go: aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name $stack"
  done
  case "$going " in *" $data "* | *" $network "*)
    # Whoever else uses these goes first: a function holds addresses in the subnets, for instance.
    for export_name in $(cfn list-exports --query "Exports[?starts_with(Name, '$network-') || starts_with(Name, '$data-')].Name" --output text); do
      for other in $(cfn list-imports --export-name "$export_name" --query 'Imports' --output text 2>/dev/null); do
        case $other in "$app" | "$lambda" | "$data" | None) ;; *) die "delete the stack $other first: it uses $export_name" ;; esac
      done
    done
    ;;
  esac
  case "$going " in *" $data "*)
    database=$(physical "$data" Database)
    if [ -n "$database" ]; then
      [ "$(aws rds describe-db-instances --db-instance-identifier "$database" --query 'DBInstances[0].DeletionProtection' --output text)" != True ] ||
        die "the database is protected. If it shall go: aws rds modify-db-instance --no-deletion-protection --db-instance-identifier $database"
      others=$(other_databases "$database")
      [ -z "$others" ] || die "another database is in the subnets of $data, as after a restore: $others. It costs, and while it is there nothing under it can go. Delete it first, leaving a snapshot: aws rds delete-db-instance --db-instance-identifier ${others%%[[:space:]]*} --final-db-snapshot-identifier ${others%%[[:space:]]*}-last"
    fi
    ;;
  esac

  for stack in $going; do
    case $stack in
      "$lambda") delete "$lambda" "Delete $lambda? The function goes; its addresses in the network take up to half an hour." ;;
      "$app")
        bucket=$(physical "$app" LogBucket)
        delete "$app" "Delete $app? The balancer and the instances go; nobody is served by them from then on."
        if [ -n "$bucket" ]; then
          if agreed "Delete the balancer's access logs as well (the bucket $bucket)?"; then
            drop_bucket "$bucket"
          else
            kept_too+=$'\n'"  the bucket $bucket (aws s3 rb --force s3://$bucket)"
          fi
        fi
        ;;
      "$data")
        delete "$data" "Delete $data? The database goes, and its automatic backups; a last snapshot stays."
        if [ -n "$database" ]; then
          for snapshot in $(aws rds describe-db-snapshots --db-instance-identifier "$database" --snapshot-type manual --query 'DBSnapshots[].DBSnapshotIdentifier' --output text); do
            kept_too+=$'\n'"  the snapshot $snapshot (SNAPSHOT=$snapshot make deploy IMAGE=… begins with it; aws rds delete-db-snapshot --db-snapshot-identifier $snapshot)"
          done
        fi
        ;;
      "$network")
        delete "$network" "Delete $network?"
        rm -f "$remembered" ;;
    esac
  done
  left
}

# What runs, which version, for whom, for how much.
status() {
  local stack url version health open database others
  where
  for stack in "$network" "$data" "$app" "$lambda"; do
    load "$stack"
    there "$stack" || { tell "stack    $stack: none"; continue; }
    tell "stack    $stack: $(value "$stack" State)"
    case $stack in
      "$data")
        database=$(value "$data" Database '')
        [ -z "$database" ] || tell "         $(aws rds describe-db-instances --db-instance-identifier "$database" --output text \
          --query 'DBInstances[0].[DBInstanceIdentifier, DBInstanceStatus, DBInstanceClass, EngineVersion]' | tr '\t' ' ')"
        others=$(other_databases "$database")
        [ -z "$others" ] || tell "         beside it, as after a restore, and paid for: $others"
        ;;
      "$app")
        tell "         $(value "$app" Image)"
        tell "         instances in service: $(aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$(value "$app" GroupName '')" --output text \
          --query "length(AutoScalingGroups[0].Instances[?LifecycleState == 'InService' && HealthStatus == 'Healthy'] || \`[]\`)") of at least $(value "$app" MinInstances)"
        ;;
    esac
    case $stack in "$app" | "$lambda") ;; *) continue ;; esac
    url=${URL:-$(value "$stack" Url '')}
    [ -n "$url" ] || continue
    # Nothing secret is sent: with CERTIFICATE, the balancer's own name is not in the certificate, and the answer is taken all the same.
    version=$(curl --insecure --silent --max-time 10 "$url/openapi.json" | sed -n '/^  "info": {/,/^  }/s/^    "version": "\(.*\)".*/\1/p') || version=
    health=$(curl --insecure --silent --output /dev/null --max-time 10 --write-out '%{http_code}' "$url/readyz") || true
    open=$(curl --insecure --silent --output /dev/null --max-time 10 --write-out '%{http_code}' "$url/users/") || true
    case $open in
      2??) open="OPEN: whoever reaches it may do everything" ;;
      401) open="closed: calls need a key" ;;
      *) open="a call without a key: $open" ;;
    esac
    tell "         $url: version ${version:-unknown}; /readyz $health; $open"
    tell "open to  $(audience "$stack" "$(settings_of "$stack")" "$(value "$network" ClientCidr 0.0.0.0/0)" "$(value "$stack" Certificate '')")"
  done
  costs
}

serving() { # the stack that serves: the app's, or else the function's
  load "$app"
  if there "$app"; then echo "$app"; else need "$lambda" && echo "$lambda"; fi
}

rotate() {
  local secret old new
  need "$network"
  need "$data"
  secret=$(value "$data" AppSecretArn)
  ask "Give the app's user of $data, in $AWS_REGION of the account $account, a new password?"
  old=$(version_of AWSCURRENT)
  # printf is the shell's own: the password is in no process's arguments.
  new=$(aws secretsmanager get-random-password --password-length 40 --exclude-punctuation --query RandomPassword --output text |
    { read -r password && printf '{"username": "library", "password": "%s"}' "$password"; } |
    aws secretsmanager put-secret-value --secret-id "$secret" --version-stages AWSPENDING --secret-string file:///dev/stdin --query VersionId --output text)
  run_task up # now both passwords are good
  move_label AWSCURRENT "$new"
  say "rotated from version $old to $new. Instances hold the old password for up to five minutes more, and it stays good until the
task runs again: at the next deployment or rotation, or for who wants it to end, in five minutes, by deploy/deploy.sh task status"
}

# Makes a key by the root key, which stands in no process's arguments and in no environment: printf is the shell's own.
key() { # role, whose it is
  local role=$1 whose=$2 stack url root said status
  case $role in reader | desk | admin) ;; *) die "$role is no role: reader, desk or admin" ;; esac
  case $whose in *[[:cntrl:]]*) die "the name may have no control characters" ;; esac
  whose=${whose//\\/\\\\} whose=${whose//\"/\\\"} # as JSON has it
  stack=$(serving)
  load "$stack"
  url=${URL:-$(value "$stack" Url)}
  load "$data"
  ! there "$data" || stack=$data # otherwise the function's stack has made the secret itself
  root=$(aws secretsmanager get-secret-value --secret-id "$(value "$stack" AdminKeySecretArn)" --query SecretString --output text)
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
  up) [ $# = 0 ] || [ "$*" = --lambda ] || die "up is followed by nothing or by --lambda" ;;
  down) case $* in '' | app | lambda) ;; *) die "down is followed by nothing, by app or by lambda" ;; esac ;;
  status | rotate | url) [ $# = 0 ] || die "$command takes no arguments" ;;
  task) [ $# != 0 ] || die "task is followed by the arguments of library migrate" ;;
  key) [ $# = 2 ] || die "key is followed by a role (reader, desk or admin) and the name of whose it is" ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' deploy.sh >&2; exit 2 ;;
esac
locate
case $command in
  task) need "$network"; need "$data"; run_task "$@" ;;
  url) stack=$(serving); load "$stack"; value "$stack" Url ;;
  *) "$command" "$@" ;;
esac
