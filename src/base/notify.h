/* Telling who started us that we serve (sd_notify(3)): systemd with Type=notify, or a supervisor of ours. */
#pragma once

/* Sends "READY=1" to the datagram socket of $NOTIFY_SOCKET, a path or "@" and an abstract name; does nothing without one, and fails
 * silently as sd_notify's callers do: who does not hear it asks by other means. */
void notify_ready(void);
