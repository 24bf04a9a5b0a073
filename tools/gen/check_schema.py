#!/usr/bin/env python3
"""Proves that src/api/schema/*.api hold every row of the fact tables, and no other.

The tables are looked for in $KNARR_FACTS, else in ../shared/facts beside the repository. Without them the files are only
read (syntax). Order matters where it has a meaning: fields within a struct, values within an enum, columns of a kind."""
import os
import sys
from collections import Counter

import api_schema

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, '../..')
schema = api_schema.read(os.path.join(root, 'src/api/schema'))
facts = os.environ.get('KNARR_FACTS') or os.path.join(root, '../shared/facts')
if not os.path.isdir(facts) and not os.environ.get('KNARR_FACTS'):
    facts = os.path.join(root, '../../shared/facts')  # a linked work tree sits one folder deeper
if not os.path.isdir(facts):
    print('check_schema: no fact tables here (KNARR_FACTS): %d fields read' % len(schema.types))
    sys.exit(0)

bad = 0
total = 0


def beyond(table, row):
    """What the tables leave out and we have all the same: resource.k8s.io/v1alpha3, which 1.33 serves on demand (decision 0521;
    its fixtures are in convert_test.c), and what priority that group's APIServices have."""
    if table == 'group_priorities' and row.get('api_group') == 'resource.k8s.io':
        return True
    return row.get('version') == 'v1alpha3' or str(row.get('type', '')).startswith('resource/v1alpha3.')


order_of = {'types': ('group', 'version', 'type'), 'enums': ('group', 'version', 'enum_type'),
            'table_columns': ('group', 'version', 'kind'), 'defaults': ('type',),
            'cri_messages': ('package', 'message'), 'etcd_messages': ('package', 'message')}
for table in api_schema.Schema.TABLES + api_schema.Schema.PROTO:
    columns, want = api_schema.read_table(os.path.join(facts, table + '.tsv'))
    have = getattr(schema, table)
    key = lambda r: tuple(r[c] for c in columns)
    have = [r for r in have if not beyond(table, r)]
    w, h = Counter(map(key, want)), Counter(map(key, have))
    for what, rows in (('lost', w - h), ('invented', h - w)):
        for r in list(rows)[:5]:
            print('%s: %s: %s' % (table, what, '\t'.join(map(str, r))))
        bad += sum(rows.values())
    if table in order_of and w == h:
        def groups(rows):
            out = {}
            for r in rows:
                out.setdefault(tuple(r[c] for c in order_of[table]), []).append(key(r))
            return out
        a, b = groups(want), groups(have)
        for g in a:
            if a[g] != b[g]:
                print('%s: order differs in %s' % (table, ' '.join(g)))
                bad += 1
    total += len(want)
print('check_schema: %d rows of %d tables, %d differ' % (total, len(api_schema.Schema.TABLES + api_schema.Schema.PROTO), bad))
sys.exit(1 if bad else 0)
