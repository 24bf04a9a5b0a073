#!/usr/bin/env python3
"""Makes src/api/schema/*.api from a folder of fact tables: usage: import_facts.py FACTS_DIR [OUT_DIR].

The schema files are edited by hand afterwards; running this again replaces them. check_schema.py proves that nothing
was lost or invented on the way."""
import os
import sys

import api_schema

if len(sys.argv) not in (2, 3):
    sys.exit(__doc__)
here = os.path.dirname(os.path.abspath(__file__))
out = sys.argv[2] if len(sys.argv) == 3 else os.path.join(here, '../../src/api/schema')
api_schema.write(api_schema.read_facts(sys.argv[1]), out)
