"""The engine that ties `docs/`, `snippets/` and `tests/` together.

Read it in this order:

`pages`     what stands on a page, expanded as the site expands it, and the laws that hold without running it
`records`   the recorded outputs beside each module
`examples`  Sybil runs the blocks of a page, in order, and compares what they print with the record
`notebooks` a module of cells among the snippets, its executed form as a page, and the laws that tie the two
`figures`   the plots of a notebook: captured, refused when they show nothing, compared with the record
`html`      the built page as the last witness: what a reader sees is what ran, and no link leads nowhere
`takeaway`  each page as Markdown and as a notebook, made from its HTML
`publish`   what makes the built pages fast, private and at home on any host; `cards` draws what a shared link shows

Two files at the top level plug it in: `conftest.py` into pytest, `mkdocs_hooks.py` into MkDocs.
"""
