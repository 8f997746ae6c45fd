# Makes a prepared checkout: the files of a commit, and beside them all of a `.git` that does not depend on the run.
# Runs inside the sandbox, on objects that were checked when they came in; nothing of a run or a stranger is executed.
# Arguments: workspace, objects, commit, commit that the workspace holds already or empty, hash function.
set -eu
workspace=$1 objects=$2 commit=$3 over=$4 format=$5
PATH=/usr/local/bin:/usr/bin:/bin
export PATH LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_GLOBAL=/dev/null
export GIT_ATTR_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1 GIT_NO_REPLACE_OBJECTS=1 GIT_ALLOW_PROTOCOL=
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE

cd "$workspace"
if [ -z "$over" ]; then
    if [ -e .git ] || [ -L .git ]; then
        echo "prepare: the workspace is not empty" >&2
        exit 65
    fi
    mkdir -p .git/objects/info .git/objects/pack .git/refs/heads .git/refs/tags .git/info
    printf '%s\n' "$objects" >.git/objects/info/alternates
    # Files are taken byte for byte, whatever the repository's own attributes ask for.
    printf '%s\n' '* -text !eol !ident !filter !working-tree-encoding' >.git/info/attributes
    # Each run has its own of these two on top.
    printf 'ref: refs/heads/prepared\n' >.git/HEAD
    {
        printf '[core]\n\trepositoryformatversion = %s\n' "$([ "$format" = sha1 ] && echo 0 || echo 1)"
        printf '\tfilemode = true\n\tbare = false\n\thooksPath = /dev/null\n[checkout]\n\tworkers = 0\n'
        [ "$format" = sha1 ] || printf '[extensions]\n\tobjectFormat = %s\n' "$format"
    } >.git/config
fi
export GIT_DIR="$workspace/.git" GIT_WORK_TREE="$workspace"
git read-tree --reset -u ${over:+"$over"} "$commit"

# A file that was written in the second of the index looks as if it could have changed since, and every `git status`
# would read it again. A later time of the index says that none has: whoever changes one now does so later than that.
entries=$(od -An -tu4 --endian=big -j8 -N4 .git/index | tr -d ' ')
if [ -z "$over" ] && [ "$entries" -gt 1000 ]; then
    written=$(stat -c %Y .git/index)
    while [ "$(date +%s)" -le "$written" ]; do sleep 0.05; done
    touch .git/index
fi
echo "prepare: $commit, $entries files"
