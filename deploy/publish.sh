#!/usr/bin/env bash
# Builds the image for both architectures from what is checked out and publishes it, under the version that git calls it, to a
# repository that you have signed in to; to ECR it signs in by the AWS CLI. Says what to deploy. The guide is deploy/publishing.md.
#
#   deploy/publish.sh REPOSITORY      docker.io/ada/library-management
#                                     ACCOUNT.dkr.ecr.REGION.amazonaws.com/library-management, public.ecr.aws/ALIAS/library-management
#   VERSION=v2.0.1 deploy/publish.sh  a version of your own
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
  echo "publish: $*" >&2
  exit 1
}

repository=${1:-}
case /$repository/ in
  //) die "where to? For example: make publish REPOSITORY=docker.io/ada/library-management, with your name of Docker Hub for ada" ;;
  */YOU/* | */ALIAS/* | */ACCOUNT.*) die "$repository: put your own name, alias or account where the guide has a word in capitals" ;;
esac
[[ ${repository##*/} != *[:@]* ]] || die "$repository: without a tag or a digest; the tag is the version"
[[ $repository != *[[:upper:]]* ]] || die "$repository: the names of images have no capitals"

version=${VERSION:-$(git describe --tags --always --dirty)}
[[ $version != *-dirty ]] || die "$version: something is not committed, and nobody could build this image again; commit it, or say VERSION=…"
[[ $version != dev ]] || die "the version is not known: publish from a git checkout, or say VERSION=…"
image=$repository:$version

docker buildx version >/dev/null 2>&1 ||
  die "this Docker has no buildx, which builds for two architectures: https://docs.docker.com/go/buildx/"
case $repository in
  *.dkr.ecr.*.amazonaws.com*/*) # the token goes by standard input
    region=${repository#*.dkr.ecr.} region=${region%%.*}
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "${repository%%/*}" ;;
  public.ecr.aws/*) # its registry is asked in this region only
    aws ecr-public get-login-password --region us-east-1 | docker login --username AWS --password-stdin public.ecr.aws ;;
esac
! docker buildx imagetools inspect "$image" >/dev/null 2>&1 ||
  die "$image is there already, and an image is never published again under the same tag; make a new tag, or deploy that one: docker buildx imagetools inspect $image"

# The builder that Docker comes with builds for one architecture only.
docker buildx inspect library-management >/dev/null 2>&1 ||
  docker buildx create --name library-management --driver docker-container >/dev/null
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
docker buildx build --builder library-management --platform linux/amd64,linux/arm64 --build-arg VERSION="$version" \
  --provenance mode=max --sbom true --metadata-file "$metadata" --tag "$image" --push .
digest=$(sed -n 's/.*"containerimage.digest": *"\(sha256:[0-9a-f]*\)".*/\1/p' "$metadata")
[ "$digest" ] || die "$image was pushed, but its digest was not told: docker buildx imagetools inspect $image"
echo "published $image"
echo "make deploy IMAGE=$repository@$digest"
