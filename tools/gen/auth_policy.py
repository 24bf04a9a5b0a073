#!/usr/bin/env python3
"""Makes the C tables of src/auth/policy_rows.h from policy.txt: usage: auth_policy.py policy.txt OUT.c"""
import sys

SETS = {'read': ['get', 'list', 'watch'], 'write': ['create', 'update', 'patch', 'delete', 'deletecollection']}
EVENTS = ['create,update,patch', 'core,events.k8s.io', 'events']
SUBJECTS = {'user': 'u', 'group': 'g', 'sa': 's'}


class Bad(Exception):
    pass


def words(text):
    return sorted(set(text.split(',')))


def verbs(text):
    return sorted({v for word in text.split(',') for v in SETS.get(word, [word])})


def options(fields, allowed):
    """key=value words; a key that may repeat gives pairs in order."""
    out = []
    for f in fields:
        key, eq, value = f.partition('=')
        if not eq or not value or key not in allowed:
            raise Bad('"%s" is none of %s' % (f, ', '.join(k + '=' for k in allowed)))
        out.append((key, value))
    return out


def rule(fields):
    """(verbs, groups, resources, names, urls)"""
    if fields == ['events']:
        fields = EVENTS
    if len(fields) < 3:
        raise Bad('a rule is VERBS GROUPS RESOURCES or VERBS url PATHS')
    if fields[1] == 'url':
        if len(fields) != 3:
            raise Bad('nothing may follow the paths')
        return tuple(map(tuple, (verbs(fields[0]), [], [], [], words(fields[2]))))
    groups = sorted('' if g == 'core' else g for g in words(fields[1]))
    names = dict(options(fields[3:], ['names'])).get('names', '')
    return tuple(map(tuple, (verbs(fields[0]), groups, words(fields[2]), words(names) if names else [], [])))


def subject(pair):
    key, value = pair
    ns = ''
    if key == 'sa':
        ns, slash, value = value.partition('/')
        if not slash:
            raise Bad('sa=NAMESPACE/NAME')
    return SUBJECTS[key] + value, ns


def parse(text):
    roles, bindings = [], []
    for number, line in enumerate(text.split('\n'), 1):
        fields = line.split()
        if not fields or fields[0].startswith('#'):
            continue
        try:
            if line[0] == ' ':
                roles[-1]['rules'].append(rule(fields))
                continue
            kind, rest = fields[0], fields[1:]
            if kind == 'clusterrole':
                o = dict(options(rest[1:], ['to', 'from']))
                roles.append({'ns': '', 'name': rest[0], 'to': o.get('to', ''), 'from': o.get('from', ''), 'rules': []})
            elif kind == 'controller':
                name = 'system:controller:' + rest[0]
                roles.append({'ns': '', 'name': name, 'to': '', 'from': '', 'rules': []})
                bindings.append({'ns': '', 'name': name, 'role': name, 'subjects': [('s' + rest[0], 'kube-system')]})
            elif kind == 'role':
                roles.append({'ns': rest[0], 'name': rest[1], 'to': '', 'from': '', 'rules': []})
            elif kind == 'bind':
                bindings.append({'ns': '', 'name': rest[0], 'role': rest[0],
                                 'subjects': [subject(p) for p in options(rest[1:], SUBJECTS)]})
            elif kind == 'rolebind':
                o = options(rest[2:], ['role', *SUBJECTS])
                bindings.append({'ns': rest[0], 'name': rest[1], 'role': dict(o).get('role', rest[1]),
                                 'subjects': [subject(p) for p in o if p[0] != 'role']})
            else:
                raise Bad('unknown word "%s"' % kind)
        except (Bad, IndexError) as e:
            sys.exit('policy.txt:%d: %s' % (number, e))
    check(roles, bindings)
    # Cluster-wide ones first, otherwise as written.
    return sorted(roles, key=lambda r: r['ns'] != ''), sorted(bindings, key=lambda b: b['ns'] != '')


def check(roles, bindings):
    for what, rows in (('role', roles), ('binding', bindings)):
        names = [(r['ns'], r['name']) for r in rows]
        for n in names:
            if names.count(n) > 1:
                sys.exit('policy.txt: %s %s twice' % (what, '/'.join(n)))
    known = {(r['ns'], r['name']) for r in roles}
    for b in bindings:
        if (b['ns'], b['role']) not in known:
            sys.exit('policy.txt: binding %s names the unknown role %s' % (b['name'], b['role']))
    for r in roles:
        if bool(r['rules']) == bool(r['from']):
            sys.exit('policy.txt: role %s has rules and from=, or neither' % r['name'])


class Tables:
    def __init__(self):
        self.words, self.at = bytearray(b'\0'), {'': 0}
        self.lists, self.list_at = [0], {(): 0}
        self.rules, self.rule_at = [], {}

    def word(self, text):
        if text not in self.at:
            self.at[text] = len(self.words)
            self.words += text.encode() + b'\0'
        return self.at[text]

    def list(self, items):
        items = tuple(items)
        if items not in self.list_at:
            self.list_at[items] = len(self.lists)
            self.lists += [len(items), *items]
        return self.list_at[items]

    def rule(self, lists):
        if lists not in self.rule_at:
            self.rule_at[lists] = len(self.rules)
            self.rules.append([self.list(map(self.word, part)) for part in lists])
        return self.rule_at[lists]


def numbers(values, per_line=24):
    values = [str(v) for v in values]
    return ',\n'.join('\t' + ', '.join(values[i:i + per_line]) for i in range(0, len(values), per_line))


def main(source, out):
    with open(source) as f:
        roles, bindings = parse(f.read())
    t = Tables()
    role_rows = [(t.word(r['ns']), t.word(r['name']), t.word(r['to']), t.word(r['from']),
                  t.list(t.rule(x) for x in r['rules'])) for r in roles]
    binding_rows = [(t.word(b['ns']), t.word(b['name']), t.word(b['role']),
                     t.list(t.word(w) for s in b['subjects'] for w in s)) for b in bindings]
    if max(len(t.words), len(t.lists)) > 0xffff:
        sys.exit('policy.txt: the tables outgrow 16 bits')

    def rows(values):
        return '\n'.join('\t{ %s },' % ', '.join(map(str, v)) for v in values)

    text = t.words.decode().split('\0')[:-1]
    with open(out, 'w') as f:
        f.write('/* Made from policy.txt by tools/gen/auth_policy.py. */\n#include "auth/policy_rows.h"\n\n')
        f.write('const char auth_policy_words[] =\n%s;\n' % '\n'.join('\t"%s\\0"' % w for w in text))
        f.write('const uint16_t auth_policy_lists[] = {\n%s,\n};\n' % numbers(t.lists))
        f.write('const struct policy_rule auth_policy_rules[] = {\n%s\n};\n' % rows(t.rules))
        f.write('const struct policy_role auth_policy_roles[] = {\n%s\n};\n' % rows(role_rows))
        f.write('const struct policy_binding auth_policy_bindings[] = {\n%s\n};\n' % rows(binding_rows))
        for name, table in (('roles', roles), ('bindings', bindings)):
            f.write('const uint16_t auth_policy_n_%s = %d;\n' % (name, len(table)))
            f.write('const uint16_t auth_policy_n_cluster_%s = %d;\n' % (name, sum(not r['ns'] for r in table)))


if __name__ == '__main__':
    main(*sys.argv[1:])
