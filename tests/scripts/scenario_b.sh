#!/bin/sh
# Scenario B: infrastructure is planned, and applied when a person has approved it.
# Needs a daemon. `$ORCHCTL` is the program, `$ORCH_SOCKET` says where the daemon listens.
set -eu

orch() { "$ORCHCTL" --project infra "$@"; }

"$ORCHCTL" project create infra --wait

plan=$(
    orch -o name task create tofu:plan --recipe - <<'YAML'
env: { STAGE: prod }
steps:
  - name: plan
    run: |
      mkdir -p plans && echo "1 to add in $STAGE" > plans/infra.plan
      echo "planned: $(cat plans/infra.plan)"
YAML
)
apply=$(
    orch -o name task create tofu:apply --needs-approval --depends-on "$plan" --recipe - <<'YAML'
steps:
  - name: apply
    run: |
      echo "applying: $(cat infra.plan)"
      echo "1 added" > ../applied
    cwd: ./plans
    timeout: 60
YAML
)

# Nothing is applied before somebody has looked at the plan.
orch task queue "$plan" "$apply"
orch task wait "$plan"
orch run logs "$plan" --grep planned
orch approval list -o name | orch approval approve --yes -
orch task wait "$apply"
orch run logs "$apply"
