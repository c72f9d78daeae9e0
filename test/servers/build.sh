#!/usr/bin/env bash
# Finds or builds the real servers that the tests run against, and the programs that they ask. Prints `name=PATH`, one a line,
# on stdout; the rest goes to stderr.
#
#   test/servers/build.sh [--find] [nomad|vault|etcd|kube-apiserver|kubectl|helm|kstatus]...
#
# A server is, in this order: what NOMAD_BIN (VAULT_BIN, ETCD_BIN, KUBE_APISERVER_BIN, KUBECTL_BIN, ...) names; the one in the
# cache; one on PATH of exactly the pinned version; else built, as a Go module, into the cache. `--find` does not build.
# The pinned version is the one that the wrapper module's go.mod requires.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nomad-access/servers

say() { printf '%s\n' "$*" >&2; }
fail() { say "build.sh: $*"; exit 1; }

# Sets, for a server: module (the wrapper's folder), package, and how the binary is asked for its version.
describe() {
  local root own=''
  case $1 in
    nomad) module=nomad root=github.com/hashicorp/nomad package=$root version_args=(version) ;;
    vault) module=vault root=github.com/hashicorp/vault package=$root version_args=(version) ;;
    etcd) module=etcd root=go.etcd.io/etcd/server/v3 package=$root version_args=(--version) ;;
    kube-apiserver) module=kubernetes root=k8s.io/kubernetes package=$root/cmd/kube-apiserver version_args=(--version) ;;
    kubectl) module=kubernetes root=k8s.io/kubernetes package=$root/cmd/kubectl version_args=(version --client) ;;
    helm) module=helm root=helm.sh/helm/v3 package=$root/cmd/helm version_args=(version --template '{{.Version}}') ;;
    # A program of ours around a library: another one once it is changed.
    kstatus) module=kstatus root=sigs.k8s.io/cli-utils package=. version_args=(version) own=main.go ;;
    *) fail "unknown server $1 (known: ${all[*]})" ;;
  esac
  version=$(sed -n "s|^require $root v||p" "$here/$module/go.mod")
  [[ -n $version ]] || fail "no 'require $root' line in $module/go.mod"
  cached=$cache/$module-$version${own:+-$(cksum <"$here/$module/$own" | cut -d ' ' -f 1)}/$1
}

# Is this binary of the pinned version? Not of 1.11.30, nor of an Enterprise build (1.11.3+ent).
is_pinned() {
  local printed
  printed=$("$1" "${version_args[@]}" 2>/dev/null </dev/null) || return 1
  grep -Eq "(^|[^0-9.])v?${version//./\\.}([^0-9A-Za-z.+-]|\$)" <<<"$printed"
}

build() {
  local name=$1 linked='-s -w' started=$SECONDS
  command -v go >/dev/null || fail "$name $version is not in the cache and \`go\` is not installed: install Go 1.26 or set the variable of the binary"
  # Kubernetes' own build stamps the version in; without it the server calls itself v0.0.0-master.
  [[ $module != kubernetes ]] || linked+=" -X k8s.io/component-base/version.gitVersion=v$version"
  # Helm takes charts for the Kubernetes that it was built for; without a stamp that is v1.20.
  local helm=helm.sh/helm/v3
  [[ $module != helm ]] || linked+=" -X $helm/internal/version.version=v$version -X $helm/pkg/chartutil.k8sVersionMajor=1 -X $helm/pkg/chartutil.k8sVersionMinor=34"
  mkdir -p "$(dirname "$cached")"
  (
    # Two builds at once would only be slower; without flock they still cannot harm each other, thanks to the mv.
    if command -v flock >/dev/null; then
      exec 9>"$(dirname "$cached")/.lock"
      flock -n 9 || { say "$name $version: waiting for another build"; flock 9; }
      if [[ -x $cached ]]; then exit 0; fi
    fi
    say "$name $version: building, this takes minutes"
    trap 'rm -f "$cached.$BASHPID"' EXIT
    cd "$here/$module" || exit 1
    # readonly: what is built is exactly what go.mod and go.sum say, and they stay as committed.
    GOWORK=off go build -mod=readonly -ldflags "$linked" -o "$cached.$BASHPID" "$package" >&2 || exit 1
    mv -f "$cached.$BASHPID" "$cached"
  ) || fail "$name $version could not be built"
  say "$name $version: ready after $((SECONDS - started)) s"
}

# Prints the path of a server.
resolve() {
  local name=$1 variable on_path
  describe "$name"
  variable=${name//-/_}_BIN
  variable=$(tr '[:lower:]' '[:upper:]' <<<"$variable")
  if [[ -n ${!variable:-} ]]; then
    [[ -x ${!variable} ]] || fail "$variable=${!variable} is not an executable file"
    path=${!variable}
  elif [[ -x $cached ]]; then
    path=$cached
  elif on_path=$(command -v "$name") && is_pinned "$on_path"; then
    path=$on_path
  elif [[ $find_only == yes ]]; then
    fail "$name $version: not in $cache"
  else
    build "$name"
    path=$cached
  fi
  printf '%s=%s\n' "$name" "$path"
}

all=(nomad vault etcd kube-apiserver kubectl helm kstatus)
find_only=no
if [[ ${1:-} == --find ]]; then find_only=yes; shift; fi
(($#)) || set -- "${all[@]}"
for name in "$@"; do resolve "$name"; done
