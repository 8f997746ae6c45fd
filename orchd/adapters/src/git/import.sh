# Upload side of an import: puts branches and tags of somebody's repository into a bundle. Runs inside the sandbox,
# without network, with the repository mounted read-only: whatever its configuration starts, it starts in there.
# Arguments: source, out. Says what it found in `import.txt`; exits 0 also when that is a reason to refuse.
set -eu
source=$1 out=$2
PATH=/usr/local/bin:/usr/bin:/bin
export PATH LC_ALL=C HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1 GIT_NO_REPLACE_OBJECTS=1 GIT_OPTIONAL_LOCKS=0 GIT_ALLOW_PROTOCOL=
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE
unset GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS
rm -rf -- "$out/import.bundle" "$out/import.txt" "$out/import.err" "$out/import.part"

say() { printf '%s\n' "$*" >>"$out/import.txt"; }
finish() { say "state $1"; echo "import: $1"; exit 0; }

tree=
dir=$source
if [ -d "$source/.git" ]; then
    tree=$source
    dir=$source/.git
fi
cd "$source"
# The owner of the files is whoever made them: inside the sandbox that says nothing.
repo() { git -c safe.directory='*' --git-dir="$dir" -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 "$@"; }

if ! repo rev-parse --git-dir >/dev/null 2>"$out/import.err"; then finish unusable; fi
if [ "$(repo rev-parse --is-shallow-repository)" = true ]; then finish shallow; fi
if repo config --get-regexp '^(remote\..*\.(promisor|partialclonefilter)|extensions\.partialclone)$' >/dev/null; then
    finish partial
fi
say "head $(repo symbolic-ref --quiet HEAD || echo detached)"
if [ -n "$tree" ]; then
    dirty=no
    if timeout -k 1 60 git -c safe.directory='*' --git-dir="$dir" --work-tree="$tree" -c core.fsmonitor=false \
        status --porcelain --ignore-submodules=all 2>/dev/null </dev/null | head -c 1 | grep -q .; then dirty=yes; fi
    say "dirty $dirty"
fi
commit=$(repo rev-parse --verify --quiet 'HEAD^{commit}' || :)
# Names only: a ref whose object is missing is damage, not emptiness.
if [ -z "$commit" ] && repo symbolic-ref --quiet HEAD >/dev/null &&
    [ -z "$(repo for-each-ref --count=1 --format='%(refname)' refs/heads refs/tags)" ]; then finish empty; fi
if ! repo bundle create --quiet "$out/import.part" ${commit:+HEAD} --branches --tags 2>"$out/import.err"; then
    rm -f -- "$out/import.part"
    if [ -s "$dir/objects/info/alternates" ]; then finish borrowed; fi
    finish unusable
fi
mv -- "$out/import.part" "$out/import.bundle"
finish ok
