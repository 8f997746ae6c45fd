# First step of a run: makes the workspace from a commit of the project. Runs inside the sandbox.
# Arguments: workspace, objects, base commit or empty, branch (full name), author name, author address, hash function, commit of a
# checkpoint or empty.
set -eu
workspace=$1 objects=$2 base=$3 branch=$4 name=$5 email=$6 format=$7 kept=$8
PATH=/usr/local/bin:/usr/bin:/bin
export PATH LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_GLOBAL=/dev/null
export GIT_ATTR_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1 GIT_NO_REPLACE_OBJECTS=1 GIT_ALLOW_PROTOCOL=
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE

cd "$workspace"
if [ -e .git ] || [ -L .git ]; then
    echo "checkout: the workspace is not empty" >&2
    exit 65
fi
git init --quiet --template= --object-format="$format" .
export GIT_DIR="$workspace/.git" GIT_WORK_TREE="$workspace"
mkdir -p .git/info
printf '%s\n' "$objects" >.git/objects/info/alternates
# Files are taken byte for byte, whatever the repository's own attributes ask for.
printf '%s\n' '* -text !eol !ident !filter !working-tree-encoding' >.git/info/attributes
git config user.name "$name"
git config user.email "$email"
git config gc.auto 0
git config maintenance.auto false
git config core.hooksPath /dev/null
git config checkout.workers 0
git symbolic-ref HEAD "$branch"
if [ -n "$base" ]; then
    git update-ref "$branch" "$base"
    git reset --quiet --hard "$branch"
    echo "checkout: $branch at $base"
else
    echo "checkout: $branch, no commit yet"
fi
if [ -n "$kept" ]; then
    # Files as an earlier attempt left them. Branch and index stay those of the base, as they were for that one.
    if [ -n "$base" ]; then cp .git/index .git/kept-index; fi
    GIT_INDEX_FILE="$workspace/.git/kept-index" git read-tree --reset -u "$kept:files"
    rm -f .git/kept-index
    git cat-file blob "$kept:empty" | xargs -0 -r mkdir -p --
    echo "checkout: files as kept in $kept"
fi
