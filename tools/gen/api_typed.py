#!/usr/bin/env python3
"""Makes C structs of the types in src/api/schema/typed.list, and the tables that tell where their members are:
usage: api_typed.py SCHEMA_DIR TYPES.h CALLS.h ROWS.c

Everything that a listed type holds gets a struct too. Layout and names are described in src/api/typed.h."""
import os
import re
import sys

import api_schema
import api_tables

KEYWORDS = {'default', 'continue', 'static', 'register', 'int', 'signed', 'volatile', 'for', 'if', 'else', 'switch', 'case',
            'union', 'struct', 'enum', 'const', 'bool', 'long', 'short', 'float', 'double', 'char', 'extern', 'auto',
            'inline', 'return', 'goto', 'break', 'void', 'not', 'and', 'or', 'unix', 'linux'}
SCALAR = {'STRING': 'struct span', 'BYTES': 'struct span', 'BLOB': 'struct span', 'INT32': 'int32_t', 'INT64': 'int64_t',
          'UINT64': 'uint64_t', 'BOOL': 'bool', 'DOUBLE': 'double', 'TIME': 'struct api_time', 'MICROTIME': 'struct api_time',
          'DURATION': 'int64_t', 'QUANTITY': 'struct span', 'INTORSTRING': 'struct api_int_or_string',
          'RAW': 'struct json', 'ANY': 'struct json', 'UNION': 'struct json'}
NUMBERS = ('INT32', 'INT64', 'UINT64', 'BOOL', 'DOUBLE', 'DURATION', 'INTORSTRING')
NONE = 0xffffffff


def snake(name):
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    name = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', name)
    name = re.sub(r'[^A-Za-z0-9]', '_', name).lower()
    return name + '_' if name in KEYWORDS else name


def struct_name(full):
    """core/v1.PodSpec: core_pod_spec; autoscaling/v2.X: autoscaling_v2_x; etcdserverpb.RangeRequest: etcd_range_request"""
    pkg, _, typ = full.rpartition('.')
    if '/' not in full:
        pkg, _, typ = full.partition('.')
    pkg = {'etcdserverpb': 'etcd', 'mvccpb': 'mvcc'}.get(pkg, pkg)
    pkg = pkg[:-3] if pkg.endswith('/v1') else pkg.replace('/', '_')
    return pkg + '_' + snake(typ.replace('.', '_')).rstrip('_')


class Typed:
    def __init__(self, folder):
        self.t = api_tables.Tables(api_schema.read(folder))
        self.t.write(os.devnull)
        self.rows = {}    # struct name -> (type, [(member, field type, flags)])
        self.order = []
        self.roots = []
        self.struct_of = {}
        names = sorted({t['name'] for t in self.t.types if t['kind'] == 'OBJECT'})
        for line in open(os.path.join(folder, 'typed.list'), encoding='utf-8'):
            line = line.split('#')[0].strip()
            for name in [n for n in names if line.endswith('.*') and n.startswith(line[:-1])] if line.endswith('.*') else [line] if line else []:
                if name not in names:
                    sys.exit('typed.list: no type ' + name)
                self.roots.append(name)
        for name in self.roots:
            self.visit(name, ())

    def fields(self, name):
        """(member, type row, pointer?) of a struct, flattened as in JSON."""
        out = []
        if name in self.t.message_rows:
            for r in self.t.message_rows[name]:
                m = re.match(r'map<string,(.*)>$', r['type'])
                if m:
                    typ = self.t.map(self.t.resolve_message(name, m[1].strip()))
                else:
                    typ = self.t.resolve_message(name, r['type'])
                    if r['label'] == 'rep':
                        typ = self.t.list(typ)
                row = self.t.types[typ]
                out.append((snake(r['field']), row, row['kind'] == 'OBJECT' or (bool(r['oneof']) and row['kind'] in NUMBERS)))
            return out
        for r, _ in self.t.flat(name):
            out.append((snake(r['field']), self.t.types[self.t.field_type(r)], r['pointer'] == 'y'))
        return out

    def needs(self, row, pointer):
        """Structs that must be complete before one with such a member, and those that only must exist."""
        if row['kind'] == 'OBJECT':
            return ([], [row['name']]) if pointer else ([row['name']], [])
        if row['kind'] == 'LIST':
            now, later = self.needs(self.t.types[row['elem']], False)
            return [], now + later
        if row['kind'] == 'MAP':
            return self.needs(self.t.types[row['elem']], False)
        return [], []

    def visit(self, name, path):
        if name in self.rows:
            return
        if name in path:
            sys.exit('a struct cannot hold itself: ' + ' '.join(path + (name,)))
        later = []
        fields = self.fields(name)
        for _, row, pointer in fields:
            now, rest = self.needs(row, pointer)
            for n in now:
                self.visit(n, path + (name,))
            later += rest
        if name not in self.rows:
            self.rows[name] = fields
            self.order.append(name)
        for n in later:
            if n not in self.rows:
                self.visit(n, ())

    def c_type(self, row):
        kind = row['kind']
        if kind == 'OBJECT':
            return 'struct api_' + struct_name(row['name'])
        if kind == 'LIST':
            return 'struct { %s *ptr; uint32_t n; }' % self.c_type(self.t.types[row['elem']])
        if kind == 'MAP':
            elem = self.t.types[row['elem']]
            if elem['kind'] in ('STRING', 'QUANTITY', 'BYTES', 'BLOB'):
                return 'struct { struct api_pair *ptr; uint32_t n; }'
            return 'struct { struct { struct span key; %s value; } *ptr; uint32_t n; }' % self.c_type(elem)
        return SCALAR[kind]

    def write(self, header, calls, source):
        seen = {}
        for name in self.order:
            c = struct_name(name)
            if seen.setdefault(c, name) != name:
                sys.exit('%s and %s have the same C name' % (name, seen[c]))
        h = ['/* Made by tools/gen/api_typed.py from src/api/schema/: not for editing. Layout: api/typed.h */', '#pragma once', '']
        for name in self.order:
            h.append('struct api_%s;' % struct_name(name))
        for name in self.order:
            h += ['', 'struct api_%s { /* %s */' % (struct_name(name), name)]
            flags = []
            for member, row, pointer in self.rows[name]:
                star = '*' if pointer and row['kind'] == 'OBJECT' else ''
                h.append('\t%s %s%s;' % (self.c_type(row), star, member))
                if pointer and row['kind'] in NUMBERS:
                    flags.append('has_' + member.rstrip('_'))
            h += ['\tbool %s;' % f for f in flags]
            if not self.rows[name]:
                h.append('\tchar nothing;')
            h.append('};')
        h += ['', 'enum api_typed {'] + ['\tAPI_TYPED_%s,' % struct_name(n).upper() for n in self.order] + ['\tAPI_TYPED_COUNT', '};', '']
        for stem, rows in (('CRI', self.t.s.cri_messages), ('', self.t.s.etcd_messages)):
            enums = {}
            for r in rows:
                if r['label'] == 'enum':
                    enums.setdefault((r['package'], r['message']), []).append(r)
            for (pkg, name), values in enums.items():
                prefix = stem or {'etcdserverpb': 'ETCD', 'mvccpb': 'MVCC'}.get(pkg, pkg.upper())
                h.append('enum { /* %s.%s */' % (pkg, name))
                h += ['\tAPI_%s_%s_%s = %s,' % (prefix, snake(name.replace('.', '_')).upper(), snake(r['field']).rstrip('_').upper(), r['number'])
                      for r in values]
                h += ['};', '']
        with open(header, 'w', encoding='utf-8') as f:
            f.write('\n'.join(h))
        h = h[:1] + ['#pragma once', '']
        for name in self.roots:
            c = struct_name(name)
            h += ['static inline int api_%s_decode(struct arena *a, enum api_form form, struct span data, struct api_%s *out,' % (c, c),
                  '\t\t\t\t     struct err *err)', '{', '\treturn api_typed_decode(a, API_TYPED_%s, form, data, out, err);' % c.upper(), '}',
                  'static inline int api_%s_encode(struct buf *out, enum api_form form, const struct api_%s *v, struct err *err)' % (c, c),
                  '{', '\treturn api_typed_encode(out, API_TYPED_%s, form, v, err);' % c.upper(), '}', '']
        with open(calls, 'w', encoding='utf-8') as f:
            f.write('\n'.join(h))
        c = ['/* Made by tools/gen/api_typed.py from src/api/schema/: not for editing. */', '#include "api/typed_rows.h"', '',
             'const struct api_member api_t_members[] = {']
        first, typed, index = 0, [], {t['name']: i for i, t in reversed(list(enumerate(self.t.types))) if t['kind'] == 'OBJECT'}
        for name in self.order:
            s = 'struct api_' + struct_name(name)
            typed.append('{%d,%d,sizeof(%s)}' % (index[name], first, s))
            for member, row, pointer in self.rows[name]:
                has = 'offsetof(%s,has_%s)' % (s, member.rstrip('_')) if pointer and row['kind'] in NUMBERS else '0'
                c.append('{offsetof(%s,%s),%s},' % (s, member, has))
                first += 1
        c += ['{0,0}};', 'const struct api_typed_row api_t_typed[] = {'] + [x + ',' for x in typed] + ['};']
        of = [0] * len(self.t.types)
        place = {n: i + 1 for i, n in enumerate(self.order)}
        for i, t in enumerate(self.t.types):
            if t['kind'] == 'OBJECT':
                of[i] = place.get(t['name'], 0)
        c += ['const uint16_t api_t_typed_of[] = {'] + [','.join(map(str, of[i:i + 30])) + ',' for i in range(0, len(of), 30)] + ['};', '']
        with open(source, 'w', encoding='utf-8') as f:
            f.write('\n'.join(c))


if __name__ == '__main__':
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    Typed(sys.argv[1]).write(*sys.argv[2:])
