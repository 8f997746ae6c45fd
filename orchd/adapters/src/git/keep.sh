# A step between two of a task: keeps the workspace as it is, in a bundle, so that another attempt can go on from there. Runs inside
# the sandbox. Nothing of the workspace is changed, its own .git is not read, and no run fails because of this: what cannot be
# kept as it is is not kept, and that is said.
# Arguments: workspace, objects, out, base commit or empty, number, author name, author address, time, hash function.
set -u
workspace=$1 objects=$2 out=$3 base=$4 number=$5 name=$6 email=$7 time=$8 format=$9
PATH=/usr/local/bin:/usr/bin:/bin
export PATH LC_ALL=C HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1 GIT_NO_REPLACE_OBJECTS=1 GIT_ALLOW_PROTOCOL= GIT_PAGER=cat
unset GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
scratch=$out/keep-$number

clear_left() {
    for left in "$scratch" "$out/checkpoint-$number.bundle"; do
        if [ -d "$left" ] && [ ! -L "$left" ]; then chmod -R u+rwX -- "$left" || :; fi
        rm -rf -- "$left"
    done
}

not_kept() {
    echo "checkpoint: not kept: $1"
    clear_left || :
    exit 0
}

keep() {
    set -e
    mkdir "$scratch"
    git init --quiet --bare --template= --object-format="$format" "$scratch/git"
    mkdir -p "$scratch/git/info"
    printf '%s\n' "$objects" >"$scratch/git/objects/info/alternates"
    printf '%s\n' '* -text !eol !ident !filter !working-tree-encoding' >"$scratch/git/info/attributes"
    export GIT_DIR="$scratch/git" GIT_WORK_TREE="$workspace" GIT_INDEX_FILE="$scratch/index"
    printf '[core]\n\tbare = false\n\thooksPath = /dev/null\n\tfsmonitor = false\n\texcludesFile = /dev/null\n' >>"$scratch/git/config"
    printf '\tattributesFile = /dev/null\n\tlogAllRefUpdates = false\n[gc]\n\tauto = 0\n' >>"$scratch/git/config"
    if [ -n "$base" ]; then
        git read-tree "$base"
        git update-index -q --refresh >/dev/null || :
    else
        git read-tree --empty
    fi
    # What is gone first, also behind a link that took the place of a folder: git does not look there.
    git diff-files -z --name-only --ignore-submodules=all --diff-filter=D >"$scratch/gone"
    git update-index -z --force-remove --stdin <"$scratch/gone"
    git diff-files -z --name-only --ignore-submodules=all >"$scratch/tracked"
    git update-index -z --add --remove --replace --stdin <"$scratch/tracked"
    # All that is there, what is ignored in a result included.
    git ls-files -z --others >"$scratch/others"
    git update-index -z --add --replace --stdin <"$scratch/others"
    files=$(git write-tree)
    # A tree has no empty folders.
    find . -path ./.git -prune -o -type d -empty -print0 >"$scratch/empty"
    empty=$(git hash-object -w --no-filters -- "$scratch/empty")
    tree=$(printf '100644 blob %s\tempty\n040000 tree %s\tfiles\n' "$empty" "$files" | git mktree)
    export GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$email" GIT_AUTHOR_DATE="@$time +0000"
    export GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$email" GIT_COMMITTER_DATE="@$time +0000"
    commit=$(printf 'checkpoint\n' | git commit-tree ${base:+-p "$base"} "$tree")
    git update-ref refs/heads/checkpoint "$commit"
    git bundle create --quiet "$scratch/bundle" refs/heads/checkpoint ${base:+"^$base"}
    mv -- "$scratch/bundle" "$out/checkpoint-$number.bundle"
    printf '%s\n' "$commit" >"$scratch/commit"
}

clear_left || not_kept "something is in its place"
cd "$workspace" || not_kept "the workspace is gone"
# What a tree cannot hold or git cannot read: another attempt would begin with something else.
odd=$(find . -path ./.git -prune -o \( -name .git -o ! -type f ! -type d ! -type l \
    -o -type d ! -perm -700 -o -type f ! -perm -400 \) -print 2>/dev/null | head -n 1 | head -c 200 | tr -c '[:print:]\n' '?')
[ -z "$odd" ] || not_kept "a repository, a special file or one that cannot be read is in the workspace: $odd"
# Not as a condition: a shell goes on after what fails in one.
(keep)
status=$?
[ "$status" -eq 0 ] || not_kept "git could not keep it"
commit=$(cat "$scratch/commit")
rm -rf -- "$scratch"
echo "checkpoint: kept as $commit"
