#!/bin/sh
# Scenario A: two services are built and tested, tested together, deployed to staging, and deployed to production.
# Seven work items; the test of both services waits for two of them; both deployments wait for a person.
# Needs a daemon. `$ORCHCTL` is the program, `$ORCH_SOCKET` says where the daemon listens.
set -eu

orch() { "$ORCHCTL" --project shop-platform "$@"; }

# A work item makes a file, and finds those of the work items that it waits for.
item() {
    title=$1
    shift
    {
        echo "steps:"
        echo "  - name: work"
        echo "    run: |"
        echo "      echo 'Starting $title'"
        for needed in "$@"; do echo "      test -s 'done/$needed'"; done
        echo "      mkdir -p done && echo '$title' > 'done/$title'"
        echo "      echo 'Finished $title'"
    } | orch -o name task create "$title" --recipe - ${approval:-}
}

"$ORCHCTL" project create shop-platform --wait

api_build=$(item api:build)
api_test=$(item api:test api:build)
web_build=$(item web:build)
web_test=$(item web:test web:build)
integration=$(item integration:test api:test web:test)
approval=--needs-approval
staging=$(item deploy:staging integration:test)
production=$(item deploy:prod deploy:staging)

orch task link "$api_test" "$api_build"
orch task link "$web_test" "$web_build"
orch task link "$integration" "$api_test"
orch task link "$integration" "$web_test"
orch task link "$staging" "$integration"
orch task link "$production" "$staging"

# Staging is approved at once; everything is queued, and production waits for its own approval.
orch approval list -o name | head -n 1 | orch approval approve --yes -
orch task queue "$api_build" "$web_build" "$api_test" "$web_test" "$integration" "$staging" "$production"
orch task wait "$staging"
waiting=$(orch approval list -o name)
test "$(echo "$waiting" | wc -l)" -eq 1
orch approval approve --yes "$waiting"
orch task wait --all

orch run logs "$production" --grep Starting
