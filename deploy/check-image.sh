#!/bin/bash
# Tells whether the task and the instances can run an image: it is there, they can pull it (without a login, or from ECR in this
# account and region by their roles), and it is built for their processors. deploy.sh asks before it makes anything that costs.
#
#   deploy/check-image.sh IMAGE arm64|x86_64
#
# Status 0: they can; 1: they cannot, and why; 2: the registry could not be asked. For ECR, AWS_REGION is the region of the stacks.
set -euo pipefail
export AWS_PAGER=

refuse() { printf '%s\n' "$*" >&2; exit 1; }
unknown() { printf '%s\n' "$*" >&2; exit 2; }

image=$1 architecture=${2/x86_64/amd64} # as images name it

# HOST/REPOSITORY:TAG@DIGEST, as docker reads it.
case ${image##*/} in
  *@sha256:*) reference=${image##*@} ;;
  *:latest) refuse "$image: latest is another image tomorrow; name a digest, or a tag that never moves" ;;
  *:*) reference=${image##*:} ;;
  *) refuse "$image has neither a digest nor a tag" ;;
esac
repository=${image%"@$reference"}
[[ ${repository##*/} != *:* ]] || repository=${repository%:*}
host=${repository%%/*}
case $host in
  *.* | *:*) repository=${repository#*/} ;;
  *) host=docker.io ;;
esac
[[ $host != docker.io || $repository = */* ]] || repository=library/$repository
[[ $repository != *[[:upper:]]* ]] || refuse "$image: a repository is in small letters; write your own name in the place of YOU"

types=(application/vnd.oci.image.index.v1+json application/vnd.docker.distribution.manifest.list.v2+json
  application/vnd.oci.image.manifest.v1+json application/vnd.docker.distribution.manifest.v2+json)

token=
get() { # URL: its body and status, in $body and $code
  local said headers=(--header "Accept: $(printf '%s, ' "${types[@]}")*/*")
  [ -z "$token" ] || headers+=(--header "Authorization: Bearer $token") # anybody gets such a token: no secret
  said=$(curl --silent --show-error --location --max-time 30 --write-out '\n%{http_code}' "${headers[@]}" "$1" 2>&1) || unknown "$image: $said"
  code=${said##*$'\n'} body=${said%$'\n'*}
}

case $host in
  *.dkr.ecr.*)
    here=$(aws sts get-caller-identity --query Account --output text).dkr.ecr.$AWS_REGION
    [[ $host = "$here".* ]] || refuse "$image: from ECR they may pull only what is in this account and region, $here…"
    id=imageTag=$reference
    [[ $reference != sha256:* ]] || id=imageDigest=$reference
    body=$(aws ecr batch-get-image --repository-name "$repository" --image-ids "$id" --accepted-media-types "${types[@]}" \
      --query 'images[0].imageManifest' --output text 2>&1) || {
      [[ $body != *RepositoryNotFound* ]] || refuse "$image: there is no such repository in ECR"
      unknown "$image: $body"
    }
    [ "$body" != None ] || refuse "$image: there is no such image in the repository"
    blob() { get "$(aws ecr get-download-url-for-layer --repository-name "$repository" --layer-digest "$1" --query downloadUrl --output text)"; }
    ;;
  *)
    registry=https://${host/#docker.io/registry-1.docker.io}/v2/$repository
    challenge=$(curl --silent --show-error --max-time 30 --output /dev/null --dump-header - "$registry/manifests/$reference" 2>&1) || unknown "$image: $challenge"
    field() { tr -d '\r' <<<"$challenge" | sed -n "s/^[Ww][Ww][Ww]-[Aa]uthenticate: *Bearer .*$1=\"\([^\"]*\)\".*/\1/p"; }
    realm=$(field realm)
    if [ -n "$realm" ]; then
      get "$realm?service=$(field service | sed 's/ /%20/g')&scope=$(field scope)"
      token=$(tr -d ' \n' <<<"$body" | sed -n 's/.*"\(access_\)\{0,1\}token":"\([^"]*\)".*/\2/p')
    fi
    get "$registry/manifests/$reference"
    case $code in
      200) ;;
      401 | 403 | 404) refuse "$image: the registry answers $code: it is not there, or not for everybody. They pull without a login: make it public, or put it into ECR in this account and region" ;;
      *) unknown "$image: the registry answers $code" ;;
    esac
    blob() { get "$registry/blobs/$1"; }
    ;;
esac

# A list of images, one for each processor; or one image, whose configuration names its own.
if [[ $body != *'"manifests"'* ]]; then
  blob "$(tr -d ' \n' <<<"$body" | sed -n 's/.*"config":{[^}]*"digest":"\([^"]*\)".*/\1/p')"
fi
built=$(grep -oE '"architecture" *: *"[a-z0-9]+"' <<<"$body" | sed 's/.*"\(.*\)"/\1/' | grep -v unknown | sort -u | tr '\n' ' ') || true
[ -n "$built" ] || unknown "$image: what it is built for stands nowhere"
[[ " $built" = *" $architecture "* ]] || refuse "$image is built for ${built% }, not for $architecture: build it for that too, or say ARCH=x86_64 or ARCH=arm64"
