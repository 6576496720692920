"""The engine that ties `docs/`, `snippets/` and `tests/` together: one source, and two rooms that read it.

`site` is what is written: pages, the blocks on them, and the pieces of code in their modules.

`prove/` runs it. Read it in this order:
    `process`   a page's code runs as a reader's script does, in a process of its own, and all that it prints is kept
    `shapes`    comments and docstrings that give a shape, held against the tensors
    `figures`   plots: captured, refused when they show nothing, compared
    `records`   what each piece is recorded to print and draw
    `releases`  what they do on other releases of Keras that isn't so
    `laws`      what is wrong with pages, modules and records, and can be told without running them
    `examples`  Sybil runs the blocks of a page, in order, and compares what comes out with the record

`publish/` shows what was proved:
    `html`      the built page as the last witness: what a reader sees is what ran, and no link leads nowhere
    `takeaway`  each page as Markdown and as a notebook, and its module as a script
    `releases`  what readers of another release are told
    `proof`     how much of a page ran, and which test proves what
    `search`    what a section is found by beside its own words
    `pages`     a tutorial as a page; what makes every page fast, private and at home on any host
    `cards`     what a shared link shows

Two files at the top level plug it in: `conftest.py` into pytest, `mkdocs_hooks.py` into MkDocs.
"""
