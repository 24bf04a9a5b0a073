/* CertificateSigningRequest. Who asks is recorded; conditions and certificate have subresources of their own. The request's PEM is
 * checked here, its ASN.1 and signature by the server, which has the library for it. */
#include "strategy/check.h"

static void set_user(struct strategy *s)
{
	struct json *spec = default_object(s->arena, s->object, "spec");
	static const char *const theirs[] = { "username", "uid", "groups", "extra" };
	for (size_t i = 0; i < ARRAY_LEN(theirs); i++)
		json_remove(spec, span_of(theirs[i]));
	if (s->user_name.len)
		json_setl(s->arena, spec, "username", json_str(s->user_name));
	if (s->user_uid.len)
		json_setl(s->arena, spec, "uid", json_str(s->user_uid));
	if (s->n_user_groups) {
		struct json *list = json_setl(s->arena, spec, "groups", json_array());
		for (unsigned i = 0; i < s->n_user_groups; i++)
			json_push(s->arena, list, json_str(s->user_groups[i]));
	}
	if (json_count(s->user_extra))
		json_setl(s->arena, spec, "extra", json_copy(s->arena, s->user_extra));
}

static void prepare_request(struct strategy *s)
{
	if (s->old) {
		strategy_keep(s, "spec");
		strategy_keep(s, "status");
		return;
	}
	set_user(s);
	strategy_drop(s, "status");
}

/* Times that a condition lacks: an old one's of the same type and status, else now. */
static void set_times(struct strategy *s)
{
	JSON_EACH_ITEM(json_path(s->object, "status", "conditions", NULL), cond) {
		if (!member(cond, "lastUpdateTime") && s->now.len)
			json_setl(s->arena, cond, "lastUpdateTime", json_str(s->now));
		if (member(cond, "lastTransitionTime"))
			continue;
		struct span time = s->now;
		JSON_EACH_ITEM(json_path(s->old, "status", "conditions", NULL), was)
			if (!member_changed(cond, was, "type") && !member_changed(cond, was, "status") &&
			    member_text(was, "lastTransitionTime").len) {
				time = arena_span(s->arena, member_text(was, "lastTransitionTime"));
				break;
			}
		if (time.len)
			json_setl(s->arena, cond, "lastTransitionTime", json_str(time));
	}
}

/* Approval may not be touched through /status: its conditions are the old ones, in their places. */
static void keep_conditions(struct strategy *s, const char *type)
{
	const struct json *old = json_path(s->old, "status", "conditions", NULL);
	struct json *status = default_object(s->arena, s->object, "status"), kept = json_array();
	const struct json *now = member(status, "conditions");
	bool had = false;
	JSON_EACH_ITEM(now, cond)
		if (!span_is(member_text(cond, "type"), type))
			json_push(s->arena, &kept, *cond);
		else
			had = true;
	if (had) { /* those that are there stay where the first stands */
		kept = json_array();
		bool placed = false;
		JSON_EACH_ITEM(now, cond) {
			if (!span_is(member_text(cond, "type"), type)) {
				json_push(s->arena, &kept, *cond);
				continue;
			}
			JSON_EACH_ITEM(old, was)
				if (!placed && span_is(member_text(was, "type"), type))
					json_push(s->arena, &kept, json_copy(s->arena, was));
			placed = true;
		}
	} else {
		JSON_EACH_ITEM(old, was)
			if (span_is(member_text(was, "type"), type))
				json_push(s->arena, &kept, json_copy(s->arena, was));
	}
	if (kept.n)
		json_setl(s->arena, status, "conditions", kept);
	else
		json_remove(status, SPAN("conditions"));
}

static void prepare_request_status(struct strategy *s)
{
	strategy_keep(s, "spec");
	keep_conditions(s, "Approved");
	keep_conditions(s, "Denied");
	set_times(s);
}

static void prepare_approval(struct strategy *s)
{
	set_times(s);
	strategy_keep(s, "spec");
	const struct json *conditions = json_path(s->object, "status", "conditions", NULL);
	struct json mine = conditions ? *conditions : json_array();
	strategy_keep(s, "status");
	struct json *status = default_object(s->arena, s->object, "status");
	if (mine.n)
		json_setl(s->arena, status, "conditions", mine);
	else
		json_remove(status, SPAN("conditions"));
}

/* ---- validation */
static unsigned any_name(struct span s, struct api_complaints *out)
{
	if (out)
		out->n = 0;
	return 0;
}

static const char usages[][24] = {
	"any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only",
	"digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
	"key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
};

static bool known_usage(struct span usage)
{
	for (size_t i = 0; i < ARRAY_LEN(usages); i++)
		if (span_is(usage, usages[i]))
			return true;
	return false;
}

static void check_usages(struct check *c, const struct path *at, const struct json *list, const struct json *old)
{
	bool unknown_lax = false, twice_lax = false;
	JSON_EACH_INDEX(old, usage, i) {
		unknown_lax |= !known_usage(json_span(usage));
		for (uint32_t k = 0; k < i; k++)
			twice_lax |= json_equal(&old->items[k], usage);
	}
	if (!json_count(list))
		bad_required(c, at, "");
	JSON_EACH_INDEX(list, usage, i) {
		if (unknown_lax || known_usage(json_span(usage)))
			continue;
		/* names with blanks in them */
		auto_buf struct buf field = {}, shown = {}, detail = {};
		path_text(&PATH_INDEX(at, i), &field);
		api_go_quote(&shown, json_span(usage));
		for (size_t k = 0; k < ARRAY_LEN(usages); k++)
			buf_printf(&detail, "%s\"%s\"", k ? ", " : "supported values: ", usages[k]);
		api_fe_add(&c->err, buf_span(&field), API_FE_NOT_SUPPORTED, buf_span(&shown), buf_span(&detail));
		c->n++;
	}
	JSON_EACH_INDEX(list, usage, i)
		for (uint32_t k = 0; k < i && !twice_lax; k++)
			if (json_equal(&list->items[k], usage)) {
				bad_duplicate(c, &PATH_INDEX(at, i), usage);
				break;
			}
}

/* domain.example/name.with.parts */
void check_signer_name(struct check *c, const struct path *at, struct span name)
{
	struct span domain, path, rest, label;
	struct api_complaints bad;
	unsigned labels = 0;
	if (!name.len) {
		bad_required(c, at, "");
		return;
	}
	if (!span_split(name, '/', &domain, &path) || span_chr(path, '/') >= 0) {
		bad_string(c, at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
		return;
	}
	if (domain.len > 253)
		bad_too_long(c, at, 253);
	for (int part = 0; part < 2; part++) {
		struct span whole = part ? path : domain;
		bool more = true;
		rest = whole;
		for (unsigned n = 0; more; n++) {
			more = span_split(rest, '.', &label, &rest);
			if (!part)
				labels = n + 1;
			if (!(part ? api_name_dns1123_subdomain(label, &bad) : api_name_dns1123_label(label, &bad)))
				continue;
			auto_buf struct buf quoted = {};
			api_go_quote(&quoted, label);
			for (unsigned i = 0; i < bad.n; i++)
				bad_string(c, at, whole, "validating label %s: %s", buf_cstr(&quoted), bad.text[i]);
			while (!part && more) { /* the count of labels is of all */
				more = span_split(rest, '.', &label, &rest);
				labels++;
			}
			break;
		}
		if (!part && labels < 2)
			bad_string(c, at, domain, "should be a domain with at least two segments separated by dots");
	}
	if (name.len > 253 + 253 + 63 + 1 + 1)
		bad_too_long(c, at, 253 + 253 + 63 + 1 + 1);
}

static void check_request_conditions(struct check *c, const struct json *list, const struct json *old)
{
	const struct path at = PATH(&PATH(PATH_ROOT, "status"), "conditions");
	bool approved = false, denied = false, was_approved = false, was_denied = false, twice_lax = false, empty_lax = false;
	JSON_EACH_INDEX(old, cond, i) {
		struct span type = member_text(cond, "type");
		was_approved |= span_is(type, "Approved");
		was_denied |= span_is(type, "Denied");
		empty_lax |= !type.len;
		for (uint32_t k = 0; k < i; k++)
			twice_lax |= span_eq(member_text(&old->items[k], "type"), type);
	}
	JSON_EACH_INDEX(list, cond, i) {
		const struct path item = PATH_INDEX(&at, i);
		struct span type = member_text(cond, "type"), status = member_text(cond, "status");
		const char *allowed = check_one_of(type, "Approved Denied Failed") ? "True" : "False True Unknown";
		if (!type.len && !empty_lax)
			bad_required(c, &PATH(&item, "type"), "");
		if (!status.len)
			bad_required(c, &PATH(&item, "status"), "");
		else if (!check_one_of(status, allowed))
			bad_choice(c, &PATH(&item, "status"), status, allowed);
		approved |= span_is(type, "Approved");
		denied |= span_is(type, "Denied");
		if (approved && denied && !(was_approved && was_denied) && check_one_of(type, "Approved Denied"))
			bad_string(c, &PATH(&item, "type"), type, "Approved and Denied conditions are mutually exclusive");
		for (uint32_t k = 0; k < i && !twice_lax; k++)
			if (span_eq(member_text(&list->items[k], "type"), type)) {
				bad_duplicate_string(c, &PATH(&item, "type"), type);
				break;
			}
	}
}

/* What is wrong with a certificate's PEM; NULL for nothing. Blocks of a wrong type are named in why. */
static bool certificate_is_bad(struct span pem, struct buf *why)
{
	unsigned blocks = 0;
	struct span rest = pem;
	ptrdiff_t at;
	if (!pem.len)
		return false;
	while ((at = span_find(rest, SPAN("-----BEGIN "))) >= 0) {
		rest = span_from(rest, (size_t)at + 11);
		ptrdiff_t end = span_find(rest, SPAN("-----")), close = span_find(rest, SPAN("-----END "));
		if (end < 0 || close < 0)
			break;
		struct span type = span_sub(rest, 0, (size_t)end);
		if (!span_is(type, "CERTIFICATE")) {
			buf_str(why, "only CERTIFICATE PEM blocks are allowed, found ");
			api_go_quote(why, type);
			return true;
		}
		if (span_find(span_sub(rest, (size_t)end, (size_t)close), SPAN(": ")) >= 0) {
			buf_str(why, "no PEM block headers are permitted");
			return true;
		}
		blocks++;
		rest = span_from(rest, (size_t)close + 9);
	}
	if (!blocks)
		buf_str(why, "must contain at least one CERTIFICATE PEM block");
	return !blocks;
}

static bool certificate_of(const struct json *request, struct buf *pem)
{
	return base64_parse(pem, BASE64_STD, json_span(json_path(request, "status", "certificate", NULL)));
}

static void check_request_whole(struct check *c, const struct json *request, const struct json *old)
{
	const struct path at = PATH(PATH_ROOT, "spec");
	const struct json *spec = member(request, "spec"), *seconds = member(spec, "expirationSeconds");
	struct span signer = member_text(spec, "signerName");
	auto_buf struct buf pem = {}, certificate = {}, was = {}, why = {}, old_why = {};
	check_meta(c, request, META_CORE, any_name);
	(void)base64_parse(&pem, BASE64_STD, member_text(spec, "request"));
	if (!span_has(buf_span(&pem), SPAN("-----BEGIN CERTIFICATE REQUEST-----")) ||
	    !span_has(buf_span(&pem), SPAN("-----END CERTIFICATE REQUEST-----"))) {
		auto_buf struct buf bytes = {};
		buf_str(&bytes, "[]byte{");
		for (size_t i = 0; i < pem.len; i++)
			buf_printf(&bytes, "%s0x%x", i ? ", " : "", (unsigned char)pem.ptr[i]);
		buf_str(&bytes, "}");
		struct json raw = { .kind = JSON_RAW, .n = (uint32_t)bytes.len, .str = buf_cstr(&bytes) };
		bad_value(c, &PATH(&at, "request"), &raw, "PEM block type must be CERTIFICATE REQUEST");
	}
	check_usages(c, &PATH(&at, "usages"), member(spec, "usages"), json_path(old, "spec", "usages", NULL));
	if (span_is(signer, "kubernetes.io/legacy-unknown") &&
	    !span_is(json_span(json_path(old, "spec", "signerName", NULL)), "kubernetes.io/legacy-unknown"))
		bad_string(c, &PATH(&at, "signerName"), signer, "the legacy signerName is not allowed via this API version");
	else
		check_signer_name(c, &PATH(&at, "signerName"), signer);
	if (seconds && seconds->i < 600)
		bad_value(c, &PATH(&at, "expirationSeconds"), seconds,
			"may not specify a duration less than 600 seconds (10 minutes)");
	check_request_conditions(c, json_path(request, "status", "conditions", NULL), json_path(old, "status", "conditions", NULL));
	(void)certificate_of(request, &certificate);
	(void)certificate_of(old, &was);
	if (old && (span_eq(buf_span(&certificate), buf_span(&was)) || certificate_is_bad(buf_span(&was), &old_why)))
		return;
	if (certificate_is_bad(buf_span(&certificate), &why))
		bad_string(c, &PATH(&PATH(PATH_ROOT, "status"), "certificate"), SPAN("<certificate data>"), "%s", buf_cstr(&why));
}

/* The conditions of a type, as a list. */
static struct json of_type(struct arena *a, const struct json *request, const char *type)
{
	struct json out = json_array();
	JSON_EACH_ITEM(json_path(request, "status", "conditions", NULL), cond)
		if (span_is(member_text(cond, "type"), type))
			json_push(a, &out, *cond);
	return out;
}

static void check_request_update(struct check *c, const struct json *request, const struct json *old, bool approval,
	bool certificate)
{
	static const char *const types[] = { "Approved", "Denied", "Failed" };
	const struct path status_at = PATH(PATH_ROOT, "status"), at = PATH(&status_at, "conditions");
	check_request_whole(c, request, old);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (of_type(c->arena, request, types[i]).n < of_type(c->arena, old, types[i]).n)
			bad_forbidden(c, &at, "updates may not remove a condition of type \"%s\"", types[i]);
	for (size_t i = 0; i < 2 && !approval; i++) {
		struct json now = of_type(c->arena, request, types[i]), was = of_type(c->arena, old, types[i]);
		if (now.n > was.n) {
			bad_forbidden(c, &at, "updates may not add a condition of type \"%s\"", types[i]);
		} else if (now.n == was.n && !strategy_same(&now, &was)) {
			auto_buf struct buf diff = {};
			strategy_diff(&diff, &was, &now);
			bad_forbidden(c, &at, "updates may not modify a condition of type \"%s\"\n%s", types[i], buf_cstr(&diff));
		}
	}
	const struct json *mine = json_path(request, "status", "certificate", NULL), *theirs = json_path(old, "status",
		"certificate", NULL);
	if (!span_eq(json_span(mine), json_span(theirs))) {
		if (!certificate)
			bad_forbidden(c, &PATH(&status_at, "certificate"), "updates may not set certificate content");
		else if (json_span(theirs).len)
			bad_forbidden(c, &PATH(&status_at, "certificate"), "updates may not modify existing certificate content");
	}
	check_meta_update(c, request, old, META_CORE);
}

static void check_request(struct check *c, const struct json *request, const struct json *old)
{
	if (old)
		check_request_update(c, request, old, false, false);
	else
		check_request_whole(c, request, NULL);
}

static void check_request_status(struct check *c, const struct json *request, const struct json *old)
{
	check_request_update(c, request, old, false, true);
}

static void check_approval(struct check *c, const struct json *request, const struct json *old)
{
	check_request_update(c, request, old, true, false);
}

const struct strategy_kind strategy_kind_signing_request = {
	.group = "certificates.k8s.io", .kind = "CertificateSigningRequest", .flags = STRATEGY_UNCONDITIONAL_UPDATE,
	.prepare = prepare_request, .check = check_request,
	.subs = { { "status", prepare_request_status, check_request_status }, { "approval", prepare_approval, check_approval } },
};
