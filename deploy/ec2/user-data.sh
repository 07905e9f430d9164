#!/bin/bash
# Turns an instance with Amazon Linux 2023 into an app server: Docker, the image, a systemd unit that keeps it running, a
# wait until it answers. By hand: fill in the settings and paste all of it as user data. By the stack: deploy/stack/app.yaml
# carries this very text ("make user-data" puts it there) and sets the settings in front of it.
set -euo pipefail

# ---- Settings. No password and no key is among them: the app reads them from Secrets Manager, by the instance's role.

REGION=${REGION:-us-east-1}
IMAGE=${IMAGE:-docker.io/YOU/library-management@sha256:DIGEST} # a digest, or a tag that never moves; never latest
DB_HOST=${DB_HOST:-YOURS.us-east-1.rds.amazonaws.com}
DB_PORT=${DB_PORT:-3306}
DB_NAME=${DB_NAME:-library}
DB_SECRET_ARN=${DB_SECRET_ARN:-arn:aws:secretsmanager:us-east-1:ACCOUNT:secret:NAME} # of the app's user, not of the master
ADMIN_KEY_SECRET_ARN=${ADMIN_KEY_SECRET_ARN:-}                                       # of the root key, which makes keys; empty: none
DB_MAX_OPEN_CONNS=${DB_MAX_OPEN_CONNS:-5}
TRUSTED_PROXIES=${TRUSTED_PROXIES:-10.20.0.0/24,10.20.1.0/24} # the balancer's subnets
LOG_GROUP=${LOG_GROUP:-library}                                # of CloudWatch; it must exist
SETTINGS=${SETTINGS:-}                                         # more of the app's, such as "LOAN_DAYS=21 TZ_NAME=Europe/Paris"
STACK=${STACK:-}                                               # whom to signal; empty: nobody waits
RESOURCE=${RESOURCE:-}

# ---- Whatever happens, the stack learns of it at once, with the step that failed: a bad image is then rolled back, not
# waited for.

PATH=$PATH:/opt/aws/bin # cfn-signal's place
step="beginning"
finish() {
  local status=$?
  if [ "$status" != 0 ]; then
    echo "library: failed: $step" >&2
    journalctl --unit library --no-pager --lines 50 >&2 || true
  fi
  [ -z "$STACK" ] ||
    cfn-signal --exit-code "$status" --reason "$step" --stack "$STACK" --resource "$RESOURCE" --region "$REGION"
}
trap finish EXIT

# The network's moods: five tries, longer and longer apart.
try() {
  local n
  for n in 1 2 3 4; do
    "$@" && return
    sleep $((n * n))
  done
  "$@"
}

# ---- Docker. No "dnf update": Amazon Linux's repositories are those of the image's own release, so that every instance of
# one launch template gets the same packages, and an update is a new launch template.

step="installing Docker"
command -v docker >/dev/null || try dnf --assumeyes --quiet install docker
systemctl enable --now docker

step="pulling $IMAGE"
case $IMAGE in
  *.dkr.ecr.*) # the token goes by standard input
    login() { aws ecr get-login-password --region "$REGION" | docker login --username AWS --password-stdin "${IMAGE%%/*}"; }
    try login
    ;;
esac
try docker pull --quiet "$IMAGE"

# ---- The app's settings. MIGRATE is off: the deployment's task has applied the migrations, with a user who may.

step="writing the unit"
install -d -m 0755 /etc/library
(
  umask 077
  cat >/etc/library/env <<ENV
DB_HOST=$DB_HOST
DB_PORT=$DB_PORT
DB_NAME=$DB_NAME
DB_TLS=rds
DB_SECRET_ARN=$DB_SECRET_ARN
ADMIN_KEY_SECRET_ARN=$ADMIN_KEY_SECRET_ARN
DB_MAX_OPEN_CONNS=$DB_MAX_OPEN_CONNS
DB_MAX_IDLE_CONNS=$DB_MAX_OPEN_CONNS
AWS_REGION=$REGION
MIGRATE=off
TRUSTED_PROXIES=$TRUSTED_PROXIES
LOG_FORMAT=json
ENV
  for setting in $SETTINGS; do echo "$setting"; done >>/etc/library/env
)

# The container writes nowhere, may nothing and is nobody. It has 40 s to stop: the drain of 3 s, then the longest request
# of 8 s, with room. A full or slow CloudWatch never holds it up (non-blocking). systemd, not Docker, restarts it, for ever.
cat >/etc/systemd/system/library.service <<UNIT
[Unit]
Description=Library API
Requires=docker.service
After=docker.service network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStartPre=-/usr/bin/docker rm --force library
ExecStart=/usr/bin/docker run --rm --name library --pull never \\
  --publish 8000:8000 --env-file /etc/library/env \\
  --user 65532:65532 --read-only --tmpfs /tmp --tmpfs /data --cap-drop ALL --security-opt no-new-privileges \\
  --memory 512m --pids-limit 256 --ulimit nofile=4096:4096 --stop-timeout 40 \\
  --log-driver awslogs --log-opt awslogs-region=$REGION --log-opt awslogs-group=$LOG_GROUP \\
  --log-opt awslogs-stream=$(cat /var/lib/cloud/data/instance-id) --log-opt mode=non-blocking --log-opt max-buffer-size=4m \\
  $IMAGE
ExecStop=/usr/bin/docker stop library
Restart=always
RestartSec=2
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
UNIT

step="starting the unit"
systemctl daemon-reload
systemctl enable --now library

# Whether it lives, not whether it is ready: a database that is failing over must not fail a deployment.
step="waiting for /livez"
alive=false
for _ in $(seq 60); do
  if curl --fail --silent --max-time 2 --output /dev/null http://127.0.0.1:8000/livez; then
    alive=true
    break
  fi
  sleep 1
done
$alive
step="done"
