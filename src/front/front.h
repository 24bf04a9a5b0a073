/* kubectl: the command line of a Kubernetes cluster, any cluster. The seam of src/front, which the program alone uses.
 *
 *     knarr kubectl get pods -A          or by the name kubectl, through a link
 *
 * Words, columns and exit statuses are those of kubectl 1.33: what people and scripts know. The cluster is found as kubectl
 * finds it (--kubeconfig, $KUBECONFIG, ~/.kube/config, a service account). One process, one thread, one loop; a
 * command asks, turns the loop until it is answered, prints, and ends.
 *
 * What it promises: what succeeded stands on standard output before the complaint about what did not (on standard error, in
 * kubectl's words); a kubeconfig that it changes is there as it was or as it should be, with its mode, owner and link. */
#pragma once

/* argv[0] is "kubectl"; borrowed. The exit status: 0, 1 for every failure (as kubectl), what an executed command returned. */
int front_kubectl_main(int argc, char **argv);
