#!/usr/bin/env python3
"""scripts/sum-tests counts what test programs print, and never takes a failure for a success."""
import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# claim, [(result, exit code, stdout)], expected last line, expected exit code
CASES = [
    ('cases of all programs are added up',
     [('OK', 0, 'x\n3 passed, 0 failed\n'), ('OK', 0, '4 passed, 0 failed, 2 skipped\n')],
     '7 passed, 0 failed, 2 skipped', 0),
    ('one failed case fails the whole',
     [('OK', 0, '3 passed, 0 failed\n'), ('FAIL', 1, '4 passed, 1 failed\n')],
     '7 passed, 1 failed', 1),
    ('a program that dies before its summary is a failure',
     [('OK', 0, '3 passed, 0 failed\n'), ('FAIL', -11, 'half a line')],
     '3 passed, 1 failed', 1),
    ('a program that is killed after its summary is a failure',
     [('TIMEOUT', -9, '3 passed, 0 failed\n')], '3 passed, 1 failed', 1),
    ('an error exit after a summary without failures is a failure',
     [('FAIL', 1, '3 passed, 0 failed\n')], '3 passed, 1 failed', 1),
    ('nothing run is a failure', [], '0 passed, 0 failed', 1),
    ('everything skipped is a failure',
     [('SKIP', 77, 'skipped: no /dev/fuse\n')], '0 passed, 0 failed, 1 skipped', 1),
    ('a summary in the middle of a line does not count',
     [('OK', 0, 'about 9 passed, 0 failed\n2 passed, 0 failed\n')], '2 passed, 0 failed', 0),
]


def run(tests):
    with tempfile.TemporaryDirectory() as build:
        os.mkdir(os.path.join(build, 'meson-logs'))
        with open(os.path.join(build, 'meson-logs', 'run-unit.json'), 'w') as f:
            for i, (result, code, out) in enumerate(tests):
                json.dump({'name': f't{i}', 'result': result, 'returncode': code,
                           'stdout': out, 'stderr': ''}, f)
                f.write('\n')
        done = subprocess.run([os.path.join(TOP, 'scripts', 'sum-tests'), build],
                              capture_output=True, text=True)
        return done.stdout.rstrip().split('\n')[-1], done.returncode


def main():
    failed = 0
    for claim, tests, line, code in CASES:
        got = run(tests)
        good = got == (line, code)
        failed += not good
        print(('ok: ' if good else 'FAILED: ') + claim + ('' if good else f': {got}'))
    print(f'{len(CASES) - failed} passed, {failed} failed')
    return 1 if failed else 0


sys.exit(main())
