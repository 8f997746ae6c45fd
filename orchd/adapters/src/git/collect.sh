# Last step of a run: turns the workspace's files into one commit on the base, in a bundle. Runs inside the sandbox,
# after every process of the run is gone. The workspace's own .git is not read, but for the subjects of its commits.
# After scratch.sh. Arguments: workspace, objects, out, base commit or empty, author name, author address, message, time, hash
# function, index of the base as the workspace began or empty.
set -eu
workspace=$1 objects=$2 out=$3 base=$4 name=$5 email=$6 message=$7 time=$8 format=$9 index=${10}

scratch=$out/collect
clear_left "$scratch" "$out/result.bundle" "$out/result.txt"
mkdir "$scratch"

# A folder that cannot be read would look as if its files were deleted. Folders are opened on the way down.
find "$workspace" -name .git -prune -o -type d ! -perm -700 -exec chmod u+rwx {} \; \
    -o -type f ! -perm -400 -exec chmod u+r {} +

open_scratch
cd "$workspace"

if [ -n "$base" ]; then
    base_tree=$(git rev-parse --verify --quiet "$base^{tree}")
    if [ -n "$index" ]; then
        # With its time, which says which files it can be sure of. What the run changed has a later time of change, which
        # no program can set back.
        cp --preserve=timestamps -- "$index" "$scratch/index"
        chmod u+w "$scratch/index"
    else
        git read-tree "$base"
        # Without this each unchanged file would be stored once more. It says with its code that some differ.
        git update-index -q --refresh >/dev/null || :
    fi
else
    base_tree=$(git mktree </dev/null)
    git read-tree --empty
fi
index_tracked
# A repository inside the workspace is listed as a folder, with a slash at its end.
git ls-files -z --others --exclude-standard >"$scratch/others"
grep -z -v '/$' <"$scratch/others" >"$scratch/files" || :
git update-index -z --add --replace --stdin <"$scratch/files"
nested=$(grep -z -c '/$' <"$scratch/others" || :)
tree=$(git write-tree)

if [ "$tree" = "$base_tree" ]; then
    changed=no
else
    changed=yes
    sign
    commit=$(printf '%s\n' "$message" | git commit-tree ${base:+-p "$base"} "$tree")
    git update-ref refs/heads/result "$commit"
    git bundle create --quiet "$scratch/bundle" refs/heads/result ${base:+"^$base"}
    mv -- "$scratch/bundle" "$out/result.bundle"
fi

# What the run called its own commits, if its repository still works. Whatever it set there may run here, so it gets
# little time; its answer is text for people.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
timeout -k 1 5 git -c safe.directory='*' --git-dir="$workspace/.git" log --max-count=50 --no-show-signature \
    --format='subject %s' HEAD ${base:+"^$base"} -- 2>/dev/null </dev/null |
    head -c 16384 >"$scratch/subjects" || :
{
    printf 'changed %s\nnested %s\n' "$changed" "$nested"
    grep '^subject ' "$scratch/subjects" || :
} >"$scratch/report"
mv -- "$scratch/report" "$out/result.txt"
rm -rf -- "$scratch"
echo "collect: changed $changed, repositories left out $nested"
