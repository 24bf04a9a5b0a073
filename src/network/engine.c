/* The engine's beginning and end, its record, and how record and kernel come together again.
 *
 * Invariants
 * 1. networks.json is what memory says, whenever a call returns.
 * 2. What is in the kernel without a record is ours by its name and is removed by the next open (links, pins) or replaced (the
 * nft table,
 *    in one transaction with its elements, so that no packet meets an empty one).
 * 3. A sandbox's record is written last at start and removed last at stop: what a crash leaves is either whole or swept. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "network/private.h"

static const char state_name[] = "networks.json";

void network_event(struct network_engine *e, enum network_event_kind kind, const struct network *n, const char *container)
{
	static const char *const actions[NETWORK_EVENT_COUNT] = { "create", "connect", "disconnect", "destroy" };
	if (!e->opts.event)
		return;
	struct network_event ev = { .kind = kind, .action = actions[kind], .id = span_of(n->id), .name = span_of(n->name),
				    .driver = span_of(network_driver_names[n->driver]), .container = span_of(container) };
	e->opts.event(e->opts.event_arg, &ev);
}

void network_note(struct network_engine *e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	e->notes.limit = 65536;
	buf_vprintf(&e->notes, fmt, ap);
	buf_chr(&e->notes, '\n');
	va_end(ap);
}

void network_engine_notes(struct network_engine *e, struct buf *out)
{
	buf_span_add(out, buf_span(&e->firewall_notes));
	buf_span_add(out, buf_span(&e->firewalld_note));
	buf_span_add(out, buf_span(&e->notes));
}

/* ---- the record */

/* The settings that the default bridge was made with, as text: when they change it is made anew. */
static void bridge_settings(const struct network_engine *e, struct buf *out)
{
	char s[SYS_ADDR_TEXT];
	const struct network_settings *set = &e->set;
	buf_printf(out, "%d %d %d %u %s", set->icc, set->masquerade, set->ipv6, set->mtu, set->bridge);
	for (int v = V4; v <= V6; v++) {
		buf_printf(out, " %s", set->bip[v].addr.family ? sys_prefix_text(&set->bip[v], s) : "-");
		buf_printf(out, " %s", set->fixed[v].addr.family ? sys_prefix_text(&set->fixed[v], s) : "-");
		buf_printf(out, " %s", set->gateway[v].family ? sys_addr_text(&set->gateway[v], s) : "-");
	}
	buf_printf(out, " %s", set->host_ip.family ? sys_addr_text(&set->host_ip, s) : "-");
}

int network_state_save(struct network_engine *e, struct err *err)
{
	auto_buf struct buf out = { 0 }, ula = { 0 }, made = { 0 };
	struct json_out o = { .buf = &out };
	hex_add(&ula, e->ula, sizeof(e->ula));
	bridge_settings(e, &made);
	json_out_begin(&o);
	json_out_key(&o, SPAN("version"));
	json_out_i64(&o, 1);
	json_out_key(&o, SPAN("ula"));
	json_out_span(&o, buf_span(&ula));
	json_out_key(&o, SPAN("bridgeSettings"));
	json_out_span(&o, buf_span(&made));
	json_out_key(&o, SPAN("networks"));
	json_out_begin_array(&o);
	LIST_EACH(&e->networks, n, struct network, link) {
		json_out_begin(&o);
		json_out_key(&o, SPAN("chosen4"));
		json_out_bool(&o, n->chosen[V4]);
		json_out_key(&o, SPAN("chosen6"));
		json_out_bool(&o, n->chosen[V6]);
		json_out_key(&o, SPAN("network"));
		json_out_value(&o, &n->tree);
		json_out_end(&o);
	}
	json_out_end(&o);
	json_out_end(&o);
	buf_chr(&out, '\n');
	return io_write_file(e->dir, state_name, buf_span(&out), 0600, err);
}

static int state_load(struct network_engine *e, struct err *err)
{
	auto_buf struct buf text = { 0 }, made = { 0 };
	auto_arena struct arena a = { 0 };
	struct json tree;
	auto_err struct err why = ERR_INIT;
	int rc = io_read_file(e->dir, state_name, &text, NETWORK_STATE_MAX, &why);
	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc == 0)
		rc = json_parse(&a, buf_span(&text), JSON_BORROW, NULL, &tree, &why);
	if (rc == 0 && json_i64(json_getl(&tree, "version"), 0) != 1)
		rc = err_set(&why, ERR_CORRUPT, "its version is not 1");
	if (rc < 0) {
		err_note(&why, "reading %s", state_name);
		return err ? err_move(err, &why) : rc;
	}
	struct span ula = json_span(json_getl(&tree, "ula"));
	if (ula.len == 2 * sizeof(e->ula))
		(void)hex_parse(ula, e->ula); /* what is no number stays undrawn */
	bridge_settings(e, &made);
	bool same = span_eq(json_span(json_getl(&tree, "bridgeSettings")), buf_span(&made));
	JSON_EACH_ITEM(json_getl(&tree, "networks"), item) {
		struct network *n;
		rc = network_load(e, json_getl(item, "network"), json_truth(json_getl(item, "chosen4"), false),
				  json_truth(json_getl(item, "chosen6"), false), &n, err);
		if (rc < 0)
			return err_note(err, "reading %s", state_name);
		/* The default bridge follows the settings. Containers on it would lose their network, as under dockerd: its record is
		 * left out, the sweep removes the interface and network_builtins makes the new one. */
		if (n->driver == NETWORK_BRIDGE && n->builtin && (!same || e->set.bridge_none)) {
			network_free(n);
			continue;
		}
		list_push(&e->networks, &n->link);
		e->n_networks++;
	}
	return 0;
}

/* ---- nft */

static void table_again(struct network_engine *e)
{
	sys_nft_drop(&e->nft);
	network_nft_table_add(&e->nft);
	LIST_EACH(&e->networks, n, struct network, link)
		network_kernel_elements(e, n, true);
	MAP_EACH(&e->sandboxes, slot)
		network_ports_elements(slot->value);
}

int network_nft_apply(struct network_engine *e, const char *what, struct err *err)
{
	if (sys_nft_commit(&e->nft, what, NULL) == 0)
		return 0;
	/* Elements are added and taken by what memory says; a kernel that disagrees was emptied by somebody (nft flush ruleset). */
	table_again(e);
	return sys_nft_commit(&e->nft, what, err);
}

void network_nft_check(struct network_engine *e)
{
	char comment[64];
	auto_err struct err err = ERR_INIT;
	if (e->dead || sys_nft_table_comment(e->filter, e->nft.family, e->nft.table, comment, &err) != -ERR_NOT_FOUND)
		return;
	err_done(&err);
	table_again(e);
	if (sys_nft_commit(&e->nft, "writing the nftables table again", &err) < 0)
		network_note(e, "%s", err_msg(&err));
}

/* ---- open */

static int id_check(const char *id, struct err *err)
{
	size_t n = strlen(id);
	if (n < 1 || n > 8 || strspn(id, "0123456789abcdef") != n)
		return err_set(err, ERR_INVALID, "an engine's ID is 1 to 8 of the digits 0-9 and a-f, not \"%.16s\"", id);
	return 0;
}

static int folder(int at, const char *name, mode_t mode, int *out, struct err *err)
{
	int rc = io_mkdirs(at, name, mode, err);
	if (rc < 0)
		return rc;
	*out = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? err_sys(err, "opening %s", name) : 0;
}

static int places(struct network_engine *e, struct err *err)
{
	int rc;
	if (strlen(e->opts.run_dir) > 80 || e->opts.run_dir[0] != '/')
		return err_set(err, ERR_INVALID, "run folder %.100s: an absolute path of at most 80 bytes is needed", e->opts.run_dir);
	if ((rc = folder(AT_FDCWD, e->opts.dir, 0700, &e->dir, err)) < 0 ||
	    (rc = folder(AT_FDCWD, e->opts.run_dir, 0711, &e->run, err)) < 0 ||
	    (rc = folder(e->run, "sandboxes", 0700, &e->boxes, err)) < 0 || (rc = folder(e->run, "netns", 0755, &e->pins, err)) < 0)
		return rc;
	e->lock = openat(e->run, "network.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (e->lock < 0)
		return err_sys(err, "opening %s/network.lock", e->opts.run_dir);
	if (flock(e->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? err_set(err, ERR_IN_USE, "%s belongs to a running engine", e->opts.run_dir)
					    : err_sys(err, "locking %s/network.lock", e->opts.run_dir);
	e->host_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (e->host_ns < 0)
		return err_sys(err, "opening our own network namespace");
	if ((e->route = sys_nl_open(NETLINK_ROUTE, err)) < 0 || (e->filter = sys_nl_open(NETLINK_NETFILTER, err)) < 0)
		return -(int)(err ? err->class : ERR_IO);
	network_nft_init(&e->nft, e->filter, e->id);
	return 0;
}

/* Names of a folder, each copied into the arena. One that begins with a dot is a file that was being written when its engine died
 * (io_write_file's temporary name): it is removed. */
static int names_of(int dir, struct arena *a, struct json *out, struct err *err)
{
	*out = json_array();
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int rc = err_sys(err, "listing a folder");
		fd_close(&fd);
		return rc;
	}
	const struct dirent *entry;
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.')
			json_push(a, out, json_str(arena_span(a, span_of(entry->d_name))));
		else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(dir, entry->d_name, 0); /* what stays does no harm, and the next open tries again */
	closedir(d);
	return 0;
}

/* Sandboxes of the last run whose namespaces still exist; the rest of RUN is cleared away. */
static int sandboxes_load(struct network_engine *e, struct err *err)
{
	auto_arena struct arena a = { 0 };
	struct json names;
	int rc = names_of(e->dir, &a, &names, err);
	rc = rc < 0 ? rc : names_of(e->boxes, &a, &names, err);
	if (rc < 0)
		return rc;
	JSON_EACH_ITEM(&names, item) {
		struct span name = json_span(item);
		auto_err struct err why = ERR_INIT;
		struct network_sandbox *box = NULL;
		const char *file = arena_cstr(&a, name), *id = "";
		if (span_ends(name, SPAN(".json")) && name.len == 69)
			id = arena_cstr(&a, span_sub(name, 0, 64));
		if (*id == 0 || network_sandbox_load(e, id, &box, &why) < 0) {
			if (*id && why.class != ERR_NOT_FOUND)
				network_note(e, "sandbox %.12s: %s", id, err_msg(&why));
			(void)unlinkat(e->boxes, file, 0); /* a name that stays is looked at again next time */
		}
	}
	if ((rc = names_of(e->pins, &a, &names, err)) < 0)
		return rc;
	JSON_EACH_ITEM(&names, item)
		if (!map_get(&e->sandboxes, json_span(item)))
			network_ns_remove(e, arena_cstr(&a, json_span(item)));
	return 0;
}

static int forwarding(struct network_engine *e, struct err *err)
{
	if (!e->set.ip_forward)
		return 0;
	return network_sysctl("net/ipv4/ip_forward", "1", err);
}

static int together(struct network_engine *e, struct err *err)
{
	int rc;
	if ((rc = state_load(e, err)) < 0 || (rc = sandboxes_load(e, err)) < 0 || (rc = network_links_sweep(e, err)) < 0)
		return rc;
	table_again(e);
	if ((rc = sys_nft_commit(&e->nft, "writing the nftables table", err)) < 0)
		return rc;
	FAILPOINT("network.open.table");
	LIST_EACH(&e->networks, n, struct network, link) {
		rc = network_kernel_make(e, n, err);
		if (rc < 0)
			return err_note(err, "network %s", n->name);
	}
	if ((rc = network_builtins(e, err)) < 0 || (rc = forwarding(e, err)) < 0)
		return rc;
	network_firewall_settle(e);
	return network_watch_open(e, err);
}

int network_engine_open(const struct network_opts *opts, struct network_engine **out_engine, struct err *err)
{
	int rc = id_check(opts->id, err);
	if (rc < 0)
		return rc;
	struct network_engine *e = mem_new(struct network_engine);
	struct sigaction pipe;
	/* splice(2) into a connection that the peer has left raises it, and has no flag against that. */
	if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
		(void)signal(SIGPIPE, SIG_IGN);
	e->opts = *opts;
	e->dir = e->run = e->lock = e->boxes = e->pins = e->host_ns = e->route = e->filter = -1;
	e->next_port = 0;
	list_init(&e->networks);
	network_reaper_init(e);
	snprintf(e->id, sizeof(e->id), "%s", opts->id);
	if ((rc = network_settings_read(&e->set, opts->settings, err)) < 0 || (rc = places(e, err)) < 0 || (rc = together(e,
		err)) < 0) {
		network_engine_close(e);
		return rc;
	}
	*out_engine = e;
	return 0;
}

void network_engine_close(struct network_engine *e)
{
	if (!e)
		return;
	MAP_EACH(&e->sandboxes, slot) {
		struct network_sandbox *box = slot->value;
		slot->value = NULL;
		network_sandbox_free(box);
	}
	map_done(&e->sandboxes);
	network_watch_close(e->watch);
	network_firewalld_free(e->firewalld);
	network_spare_close(e->spare);
	network_reaper_done(e);
	LIST_EACH(&e->networks, n, struct network, link)
		network_free(n);
	sys_nft_done(&e->nft);
	arena_done(&e->set.arena);
	buf_done(&e->notes);
	buf_done(&e->firewall_notes);
	buf_done(&e->firewalld_note);
	int *const fds[] = { &e->dir, &e->run, &e->boxes, &e->pins, &e->host_ns, &e->route, &e->filter, &e->lock };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fd_close(fds[i]);
	free(e);
}

void network_engine_settle(struct network_engine *e)
{
	MAP_EACH(&e->sandboxes, slot) {
		struct network_sandbox *box = slot->value;
		if (!box->adopted)
			network_sandbox_destroy(box);
	}
}

int network_engine_reset(struct network_engine *e, bool networks, struct err *err)
{
	int rc = 0;
	MAP_EACH(&e->sandboxes, slot)
		network_sandbox_destroy(slot->value);
	rc = network_links_sweep(e, err);
	network_watch_close(take(&e->watch)); /* it would put back what is taken away now */
	network_firewall_clear(e);
	LIST_EACH(&e->networks, n, struct network, link) {
		int one = network_kernel_remove(e, n, rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : one;
	}
	sys_nft_drop(&e->nft);
	sys_nft_table_delete_add(&e->nft);
	int gone = sys_nft_commit(&e->nft, "removing the nftables table", rc < 0 ? NULL : err);
	rc = rc < 0 ? rc : gone;
	if (networks && unlinkat(e->dir, state_name, 0) < 0 && errno != ENOENT && rc == 0)
		rc = err_sys(err, "removing %s", state_name);
	e->dead = true;
	return rc;
}
