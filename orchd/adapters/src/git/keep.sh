# A step between two of a task: keeps the workspace as it is, in a bundle, so that another attempt can go on from there. Runs inside
# the sandbox. Nothing of the workspace is changed, its own .git is not read, and no run fails because of this: what cannot be
# kept as it is is not kept, and that is said.
# After scratch.sh. Arguments: workspace, objects, out, base commit or empty, number, author name, author address, time, hash function.
set -u
workspace=$1 objects=$2 out=$3 base=$4 number=$5 name=$6 email=$7 time=$8 format=$9
scratch=$out/keep-$number bundle=$out/checkpoint-$number.bundle
# Most bytes of all files, as they say: all are read, and holes take no room on the disk.
bytes_max=4294967296

not_kept() {
    echo "checkpoint: not kept: $1"
    clear_left "$scratch" "$bundle" || :
    exit 0
}

keep() {
    set -e
    mkdir "$scratch"
    open_scratch
    if [ -n "$base" ]; then
        git read-tree "$base"
        git update-index -q --refresh >/dev/null || :
    else
        git read-tree --empty
    fi
    index_tracked
    # All that is there, what is ignored in a result included.
    git ls-files -z --others >"$scratch/others"
    git update-index -z --add --replace --stdin <"$scratch/others"
    files=$(git write-tree)
    # A tree has no empty folders.
    find . -path ./.git -prune -o -type d -empty -print0 >"$scratch/empty"
    empty=$(git hash-object -w --no-filters -- "$scratch/empty")
    tree=$(printf '100644 blob %s\tempty\n040000 tree %s\tfiles\n' "$empty" "$files" | git mktree)
    sign
    commit=$(printf 'checkpoint\n' | git commit-tree ${base:+-p "$base"} "$tree")
    git update-ref refs/heads/checkpoint "$commit"
    git bundle create --quiet "$scratch/bundle" refs/heads/checkpoint ${base:+"^$base"}
    mv -- "$scratch/bundle" "$bundle"
    printf '%s\n' "$commit" >"$scratch/commit"
}

clear_left "$scratch" "$bundle" || not_kept "something is in its place"
cd "$workspace" || not_kept "the workspace is gone"
# What a tree cannot hold or git cannot read: another attempt would begin with something else.
odd=$(find . -path ./.git -prune -o \( -name .git -o ! -type f ! -type d ! -type l \
    -o -type d ! -perm -700 -o -type f ! -perm -400 \) -print 2>/dev/null | head -n 1 | head -c 200 | tr -c '[:print:]\n' '?')
[ -z "$odd" ] || not_kept "a repository, a special file or one that cannot be read is in the workspace: $odd"
# A file with two names is read twice. What cannot be counted is too much.
bytes=$(find . -path ./.git -prune -o -type f -print0 2>/dev/null | du -bcl --files0-from=- 2>/dev/null | tail -n 1 | cut -f 1)
[ "$bytes" -le "$bytes_max" ] 2>/dev/null || not_kept "too much is in the workspace: its files have more than 4 GiB, holes included"
# Not as a condition: a shell goes on after what fails in one.
(keep)
status=$?
[ "$status" -eq 0 ] || not_kept "git could not keep it"
commit=$(cat "$scratch/commit")
rm -rf -- "$scratch"
echo "checkpoint: kept as $commit"
