#!/usr/bin/env python3
"""The rules of CONTRIBUTING.md that a program can check, one claim each.

Every finding is printed as file:line. A claim has no exemptions beside those that it names itself.
"""
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS = ['base', 'stat', 'format', 'mem', 'ring', 'blk', 'cache', 'iomap', 'journal', 'fs',
          'check', 'front']
FUNCTION_MAX = 70
FILE_MAX = 1000
LINE_MAX = 100

# A library and the only places that may include its headers.
OWNERS = {
    r'liburing': ['src/ring/'],
    r'fuse|linux/fuse': ['src/front/'],
    r'xxhash': ['src/base/hash.c', 'src/base/hash_wide.c'],
    r'blkid': ['tools/mkfs/'],
    r'check\.h': ['tests/'],
}


def files(*tops, ext=('.c', '.h')):
    """Tracked and new files, without what .gitignore names."""
    out = subprocess.run(['git', '-C', TOP, 'ls-files', '-co', '--exclude-standard', '--', *tops],
                         capture_output=True, text=True)
    names = out.stdout.split('\n') if out.returncode == 0 else walk(tops)
    return sorted({n for n in names
                   if n.endswith(tuple(ext)) and os.path.isfile(os.path.join(TOP, n))})


def walk(tops):
    """The same without git: a source archive."""
    for top in tops or ['.']:
        for folder, folders, names in os.walk(os.path.join(TOP, top)):
            folders[:] = [d for d in folders if not d.startswith(('build', '.git'))]
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), TOP)


def read(name):
    with open(os.path.join(TOP, name), encoding='utf-8') as f:
        return f.read()


def lines(name):
    return enumerate(read(name).split('\n'), 1)


def code_lines(name):
    """Lines with comments and strings blanked out."""
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', read(name))
    text = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group().count('\n'), text, flags=re.S)
    return enumerate(re.sub(r'//.*', '', text).split('\n'), 1)


def includes(name):
    for nr, line in lines(name):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if m:
            yield nr, m.group(1), m.group(2)


def grep(pattern, names, allowed=(), reader=code_lines):
    for name in names:
        if name.startswith(tuple(allowed)):
            continue
        for nr, line in reader(name):
            if re.search(pattern, line):
                yield f'{name}:{nr}: {line.strip()}'


def a_layer_includes_only_layers_below_it():
    for name in files('src'):
        own = name.split('/')[1]
        if own not in LAYERS:
            yield f'{name}: unknown layer {own}'
            continue
        for nr, kind, path in includes(name):
            layer = path.split('/')[0]
            if kind == '<' and layer not in LAYERS:
                continue
            if layer == 'foliofs':
                continue
            if layer not in LAYERS or '/' not in path:
                yield f'{name}:{nr}: "{path}" is not written as "layer/file.h"'
            elif LAYERS.index(layer) > LAYERS.index(own):
                yield f'{name}:{nr}: {own} must not include {path}'


def a_library_is_included_only_by_its_owner():
    for name in files('src', 'tools', 'tests', 'include'):
        for nr, kind, path in includes(name):
            for library, owners in OWNERS.items():
                if kind == '<' and re.match(rf'({library})', path) and \
                        not name.startswith(tuple(owners)):
                    yield f'{name}:{nr}: <{path}>'


def every_header_compiles_alone():
    cflags = subprocess.run(['pkg-config', '--cflags', 'json-c', 'fuse3', 'liburing', 'libbsd',
                             'check'], capture_output=True, text=True).stdout.split()
    for name in files('src', 'include', 'tests'):
        if not name.endswith('.h'):
            continue
        done = subprocess.run(['gcc', '-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror',
                               '-Wno-unused-function', '-Isrc', '-Iinclude', '-Itests/lib',
                               *cflags, '-fsyntax-only', '-x', 'c', '-'],
                              input=f'#include "{name}"\n', capture_output=True, text=True,
                              cwd=TOP)
        if done.returncode:
            errors = re.findall(r'.*(?:error|warning): .*', done.stderr)
            yield f'{name}: {errors[0] if errors else done.stderr.strip()}'


def a_function_fits_a_screen():
    for name in files('src', 'tools', 'tests', 'include', ext=['.c', '.h']):
        begin = None
        for nr, line in lines(name):
            if line == '{':
                begin = nr
            elif line == '}' and begin is not None:
                if nr - begin - 1 > FUNCTION_MAX:
                    yield f'{name}:{begin}: {nr - begin - 1} lines'
                begin = None


def a_file_holds_one_idea():
    for name in files('src', 'tools', 'tests', 'include'):
        length = read(name).count('\n')
        if length > FILE_MAX:
            yield f'{name}: {length} lines'


def a_line_fits_in_100_columns():
    for name in files('src', 'tools', 'tests', 'include'):
        for nr, line in lines(name):
            if len(line.expandtabs(8)) > LINE_MAX:
                yield f'{name}:{nr}: {len(line.expandtabs(8))} columns'


def no_line_ends_in_white_space():
    names = files(ext=['.c', '.h', '.md', '.sh', '.py', 'meson.build'])
    yield from grep(r'[ \t]$', names, reader=lines)


def a_source_file_begins_with_its_notes():
    for name in files('src', 'tools', 'tests', ext=['.c']):
        if not read(name).startswith('/*'):
            yield f'{name}:1'


def a_library_layer_prints_nothing():
    names = [n for n in files('src') if not n.startswith('src/front/')]
    yield from grep(r'\b(v?printf|puts|putchar|perror)\s*\(|\b(stdout|stderr)\b', names,
                    allowed=['src/base/log.c'])


def locks_are_taken_only_with_their_rank():
    yield from grep(r'\bpthread_(mutex|rwlock|cond|spin)_', files('src', 'tools'),
                    allowed=['src/base/lock.'])


def a_reason_of_damage_is_raised_at_one_place():
    """Whoever reads a reason in the log knows the check. A comparison raises nothing."""
    rows = re.findall(r'^\t([WO])\(\d+, (\w+),', read('src/base/why.h'), re.M)
    places = {('' if kind == 'W' else 'OLD_') + name: [] for kind, name in rows}
    for name in files('src', 'tools'):
        if name in ('src/base/why.h', 'src/base/why.c'):
            continue
        for nr, line in code_lines(name):
            line = re.sub(r'([=!<>]=|\bcase) *WHY_\w+', '', line)
            for reason in re.findall(r'\bWHY_(\w+)', line):
                if reason in places:
                    places[reason].append(f'{name}:{nr}')
    for reason, found in places.items():
        if len(found) != (0 if reason.startswith('OLD_') else 1):
            yield f'WHY_{reason}: {len(found)} places: {", ".join(found)}'


def nothing_is_left_for_another_day():
    names = files('src', 'tools', 'include', 'tests', 'scripts', 'docs', 'man',
                  ext=['']) if os.path.isdir(os.path.join(TOP, 'src')) else []
    yield from grep(r'\b(TODO|FIXME|XXX)\b', [n for n in names if is_text(n)],
                    allowed=['tests/style/style.py'], reader=lines)


def is_text(name):
    try:
        read(name)
        return True
    except UnicodeDecodeError:
        return False


def every_source_file_is_built():
    for name in files('src', 'tools', 'tests', ext=['.c']):
        folder = os.path.dirname(name)
        base = os.path.basename(name)
        listed = ''.join(read(os.path.join(f, 'meson.build'))
                         for f in (folder, os.path.dirname(folder))
                         if os.path.isfile(os.path.join(TOP, f, 'meson.build')))
        if f"'{base}'" not in listed and f"'{base[:-2]}'" not in listed and \
                f"/{base}'" not in listed:
            yield f'{name}: not in {folder}/meson.build'


def every_script_test_is_run():
    for folder in ['cli', 'mount', 'slow']:
        where = f'tests/{folder}'
        for name in files(where, ext=['.sh']):
            if not os.access(name, os.X_OK):     # sourced by others
                continue
            if f"'{os.path.basename(name)}'" not in read(f'{where}/meson.build'):
                yield f'{name}: not in {where}/meson.build'


def relative_links_in_documents_lead_somewhere():
    for name in files(ext=['.md']):
        for nr, line in lines(name):
            for target in re.findall(r'\]\(([^)\s]+)\)', line):
                path = target.split('#')[0]
                if re.match(r'[a-z]+:', target) or not path:
                    continue
                if not os.path.exists(os.path.join(TOP, os.path.dirname(name), path)):
                    yield f'{name}:{nr}: {target}'


def shell_scripts_pass_shellcheck():
    shells = [n for n in files('scripts', 'tests', '.ci', 'bench', ext=[''])
              if is_text(n) and re.match(r'#!/bin/(ba)?sh|#!/usr/bin/env bash', read(n))]
    done = subprocess.run(['shellcheck', '-S', 'warning', '-x', '-f', 'gcc', *shells],
                          capture_output=True, text=True, cwd=TOP)
    yield from done.stdout.strip().split('\n') if done.stdout.strip() else []


def a_script_that_is_asked_for_what_it_does_not_have_says_how_it_is_used():
    for name in 'build', 'crash', 'demo', 'fuzz', 'realworld', 'test':
        done = subprocess.run([os.path.join(TOP, 'scripts', name), '--no-such-option'],
                              capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 2 or f'scripts/{name}' not in done.stdout:
            yield f'scripts/{name} --no-such-option: exit {done.returncode}: {done.stdout[:80]}'


CLAIMS = [
    a_layer_includes_only_layers_below_it,
    a_library_is_included_only_by_its_owner,
    every_header_compiles_alone,
    a_function_fits_a_screen,
    a_file_holds_one_idea,
    a_line_fits_in_100_columns,
    no_line_ends_in_white_space,
    a_source_file_begins_with_its_notes,
    a_library_layer_prints_nothing,
    locks_are_taken_only_with_their_rank,
    a_reason_of_damage_is_raised_at_one_place,
    nothing_is_left_for_another_day,
    every_source_file_is_built,
    every_script_test_is_run,
    relative_links_in_documents_lead_somewhere,
    shell_scripts_pass_shellcheck,
    a_script_that_is_asked_for_what_it_does_not_have_says_how_it_is_used,
]


def main():
    claims = [c for c in CLAIMS if len(sys.argv) < 2 or c.__name__ in sys.argv[1:]]
    skipped = 0
    if shell_scripts_pass_shellcheck in claims and not shutil.which('shellcheck'):
        print('skipped: shell_scripts_pass_shellcheck (no shellcheck here)')
        claims.remove(shell_scripts_pass_shellcheck)
        skipped = 1
    failed = 0
    for claim in claims:
        found = list(claim())
        print(('FAILED: ' if found else 'ok: ') + claim.__name__)
        for line in found[:30]:
            print('    ' + line)
        if len(found) > 30:
            print(f'    ... and {len(found) - 30} more')
        failed += bool(found)
    print(f'{len(claims) - failed} passed, {failed} failed' +
          (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


sys.exit(main())
