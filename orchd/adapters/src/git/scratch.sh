# What the scripts that turn a workspace into a commit begin with. Nothing that a run could set holds: no configuration, no
# attributes, no hooks, no repository of its own.
PATH=/usr/local/bin:/usr/bin:/bin
export PATH LC_ALL=C HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1 GIT_NO_REPLACE_OBJECTS=1 GIT_ALLOW_PROTOCOL= GIT_PAGER=cat
unset GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# Removes what has these names, whatever it is: the run can write where they are.
clear_left() {
    for left in "$@"; do
        if [ -d "$left" ] && [ ! -L "$left" ]; then chmod -R u+rwX -- "$left" || :; fi
        rm -rf -- "$left"
    done
}

# Makes a repository in $scratch/git that knows $objects, with the files of $workspace and an index of its own.
open_scratch() {
    git init --quiet --bare --template= --object-format="$format" "$scratch/git"
    mkdir -p "$scratch/git/info"
    printf '%s\n' "$objects" >"$scratch/git/objects/info/alternates"
    printf '%s\n' '* -text !eol !ident !filter !working-tree-encoding' >"$scratch/git/info/attributes"
    export GIT_DIR="$scratch/git" GIT_WORK_TREE="$workspace" GIT_INDEX_FILE="$scratch/index"
    printf '[core]\n\tbare = false\n\thooksPath = /dev/null\n\tfsmonitor = false\n\texcludesFile = /dev/null\n' >>"$scratch/git/config"
    printf '\tattributesFile = /dev/null\n\tlogAllRefUpdates = false\n[gc]\n\tauto = 0\n' >>"$scratch/git/config"
}

# Takes out of the index what is gone, also behind a link that took the place of a folder, where git does not look; then puts in
# tracked files as they are, before others, so that a file which became a folder makes room. Submodules stay as the base has them.
index_tracked() {
    git diff-files -z --name-only --ignore-submodules=all --diff-filter=D >"$scratch/gone"
    git update-index -z --force-remove --stdin <"$scratch/gone"
    git diff-files -z --name-only --ignore-submodules=all >"$scratch/tracked"
    git update-index -z --add --remove --replace --stdin <"$scratch/tracked"
}

# Author and committer of the one commit, and its time.
sign() {
    export GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$email" GIT_AUTHOR_DATE="@$time +0000"
    export GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$email" GIT_COMMITTER_DATE="@$time +0000"
}

