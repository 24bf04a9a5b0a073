/* The cluster's name server: names of services and pods as the Kubernetes DNS specification 1.1.0 has them, other names by
 * asking the host's servers. The seam of src/dns.
 *
 * `knarr dns` runs it in the foreground. It meets the rest only through the Kubernetes API (Services, EndpointSlices, its
 * Node), its sockets (UDP and TCP, one address; /healthz and /readyz at 127.0.0.1:10054, /metrics at port 9153 of its
 * address) and the host's resolv.conf, which is read again when it changes. With --hostname-override it answers at the first
 * address of that node's pods and keeps an EndpointSlice of the Service kube-system/kube-dns that says so (decision 0780); where
 * somebody else has port 53 of every address, at port 10053 of it (decision 0797).
 *
 * What it promises: nothing is answered before all services are known, so that no name is denied that is there; afterwards
 * it answers from what it knows whatever becomes of the API server. What is said of the zone holds for 5 s (TTL), "no" too.
 * NXDOMAIN means that neither the name nor one below it is there. The question comes back letter by letter. Answers over UDP
 * have at most 1232 bytes; longer ones are cut, with TC, and whole over TCP. Nothing happens while nobody asks and nothing
 * changes.
 *
 * Threads: everything on the caller's, in one loop. */
#pragma once

/* The applet: ends at SIGTERM or SIGINT. Returns the exit status. */
int dns_main(int argc, char **argv);
