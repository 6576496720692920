"""What a reader types or pastes finds the page that answers it, in the built site, with a server or without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from engine.site import INCLUDE, sections
from tests.site import ADDRESSES, DESKTOP, PHONE, SITE

# Each row: what a reader types, the page that answers, and the anchor of the section that does ("" is the page itself).
FINDS = [
    # The tables of the source reference.
    ("custom layer", "layers/custom_layer.html", ""),
    ("custom layers", "layers/custom_layer.html", ""),
    ("how to create a custom layer", "layers/custom_layer.html", ""),
    ("class inheritance", "layers/custom_layer.html", ""),
    ("class inheritance", "models/custom_model.html", ""),
    ("initialization", "layers/custom_layer.html", ""),
    ("initialization", "models/custom_model.html", ""),
    ("build method", "layers/custom_layer.html", ""),
    ("call method", "layers/custom_layer.html", ""),
    ("call method", "models/custom_model.html", ""),
    ("custom model", "models/custom_model.html", ""),
    ("custom models", "models/custom_model.html", ""),
    ("how to create a custom model", "models/custom_model.html", ""),
    ("subclass tf.keras.Model", "models/custom_model.html", ""),
    ("tf.keras.layers.Layer", "layers/custom_layer.html", ""),
    ("custom models with multiple inputs and outputs", "models/multiple_inputs_outputs.html", ""),
    ("multiple inputs/outputs", "models/multiple_inputs_outputs.html", ""),
    ("multiple inputs", "models/multiple_inputs_outputs.html", ""),
    ("multiple outputs", "models/multiple_inputs_outputs.html", ""),
    ("functional API", "models/multiple_inputs_outputs.html", ""),
    ("shared layers", "models/multiple_inputs_outputs.html", "share-a-layer-between-inputs"),
    ("when to use custom layers and models", "decisions/when_to_use.html", ""),
    ("use cases", "decisions/when_to_use.html", ""),
    ("complex architecture", "decisions/when_to_use.html", "complex-architecture"),
    ("non-standard operations", "decisions/when_to_use.html", "non-standard-operations"),
    ("custom activation function", "decisions/when_to_use.html", ""),
    ("custom training loops", "decisions/when_to_use.html", "custom-training-loops"),
    ("advantages", "decisions/advantages.html", ""),
    ("flexibility", "decisions/advantages.html", "flexibility"),
    ("custom operations", "decisions/advantages.html", "custom-operations"),
    ("fine-grained control", "decisions/advantages.html", "fine-grained-control"),
    ("custom loss function", "decisions/advantages.html", ""),
    ("custom optimizer", "decisions/advantages.html", ""),
    ("disadvantages", "decisions/disadvantages.html", ""),
    ("increased complexity", "decisions/disadvantages.html", "increased-complexity"),
    ("potential for bugs", "decisions/disadvantages.html", "potential-for-bugs"),
    # Names, in each way to write them.
    ("add_weight", "layers/custom_layer.html", ""),
    ("add weight", "layers/custom_layer.html", ""),
    ("addweight", "layers/custom_layer.html", ""),
    ("self.add_weight(", "layers/custom_layer.html", ""),
    ("GradientTape", "tutorials/variational_autoencoder.html", ""),
    ("gradienttape", "tutorials/variational_autoencoder.html", ""),
    ("tf.GradientTape()", "tutorials/variational_autoencoder.html", ""),
    ("get_config", "errors/saving.html", ""),
    ("getconfig", "errors/saving.html", ""),
    ("keras.saving.register_keras_serializable", "errors/saving.html", ""),
    ("train_step", "tutorials/variational_autoencoder.html", ""),
    ("save and load a custom layer", "layers/custom_layer.html", ""),
    ("create weights in build", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("compute_output_shape", "layers/custom_layer.html", ""),
    ("siamese network", "models/multiple_inputs_outputs.html", "share-a-layer-between-inputs"),
    # The tutorials.
    ("equation to layer", "tutorials/equation_to_layer.html", ""),
    ("quadratic layer", "tutorials/equation_to_layer.html", ""),
    ("decision surface", "tutorials/equation_to_layer.html", "look-at-the-decision-surface-before-training"),
    ("image and table", "tutorials/image_and_table.html", ""),
    ("image and table two outputs", "tutorials/image_and_table.html", ""),
    ("FiLM", "tutorials/image_and_table.html", ""),
    ("feature-wise linear modulation", "tutorials/image_and_table.html", "write-the-layer-that-joins-them"),
    ("variational autoencoder", "tutorials/variational_autoencoder.html", ""),
    ("KL divergence", "tutorials/variational_autoencoder.html", "pull-the-codes-towards-one-distribution"),
    ("posterior collapse", "tutorials/variational_autoencoder.html", "what-goes-wrong"),
    (
        "reparameterization trick",
        "tutorials/variational_autoencoder.html",
        "sample-so-that-the-gradient-gets-through",
    ),
    ("diffusion", "tutorials/diffusion.html", ""),
    ("diffusion model training loop", "tutorials/diffusion.html", ""),
    ("draw samples from noise", "tutorials/diffusion.html", "draw-samples-from-noise"),
    ("transformer", "tutorials/transformer.html", ""),
    ("attention mask", "tutorials/transformer.html", ""),
    ("positional encoding", "tutorials/transformer.html", "embed-tokens-and-make-the-mask"),
    ("multi-head attention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("MultiHeadAttention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("multiheadattention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("supports_masking", "errors/layers.html", "mask-lost"),
    ("the mask gets lost", "tutorials/transformer.html", "the-mask-gets-lost"),
    # Other releases, and what they said.
    ("checkup", "errors/check_your_own.html", ""),
    ("check your own layer", "errors/check_your_own.html", ""),
    ("a layer that runs, and is wrong", "errors/check_your_own.html", ""),
    ("assert_clean", "errors/check_your_own.html", ""),
    ("leave a check out", "errors/check_your_own.html", ""),
    ("wrong forms and unusual right ones", "errors/check_your_own.html", ""),
    ("Keras releases", "releases.html", ""),
    ("what changed in Keras 3.15", "releases.html", ""),
    ("Keras 3.14", "releases.html", ""),
    ("TypeError: Layer.add_weight() got multiple values for argument 'shape'", "errors/layers.html", "add-weight-name"),
    ("ValueError: Dimensions must be equal, but are 4 and 7", "errors/layers.html", "input-shape-axis"),
    (
        "ValueError: tuple arity mismatch; expected: 2, got: 1; tuple: ('accuracy',).",
        "errors/models.html",
        "metrics-arity",
    ),
    (
        "For a model with multiple outputs, when providing the `metrics` argument as a list, it should have as many "
        "entries as the model has outputs.",
        "errors/models.html",
        "metrics-arity",
    ),
    # Each entry of the errors, as it is pasted.
    (
        "ValueError: `name` must be passed as a keyword argument. Received: add_weight('scale', ...). "
        "Use: add_weight(shape=..., name='scale').",
        "errors/layers.html",
        "add-weight-name",
    ),
    (
        "`name` must be passed as a keyword argument. Received: add_weight('kernel'",
        "errors/layers.html",
        "add-weight-name",
    ),
    (
        "ValueError: Cannot convert 'total' to a shape. Found invalid dimension 't' of type '<class 'str'>'.",
        "errors/layers.html",
        "add-weight-name",
    ),
    ("Cannot convert 'kernel' to a shape", "errors/layers.html", "add-weight-name"),
    ("TypeError: Power.__init__() got an unexpected keyword argument 'name'", "errors/layers.html", "init-kwargs"),
    ("__init__() got an unexpected keyword argument 'trainable'", "errors/layers.html", "init-kwargs"),
    ("MyLayer.__init__() got an unexpected keyword argument 'dtype'", "errors/layers.html", "init-kwargs"),
    (
        "InvalidArgumentError: Matrix size-incompatible: In[0]: [14,4], In[1]: [7,8]",
        "errors/layers.html",
        "input-shape-axis",
    ),
    ("Matrix size-incompatible: In[0]: [32,10], In[1]: [20,64] [Op:MatMul]", "errors/layers.html", "input-shape-axis"),
    (
        "ValueError: Shapes used to initialize variables must be fully-defined (no `None` dimensions). "
        "Received: shape=(None, 8)",
        "errors/layers.html",
        "input-shape-axis",
    ),
    ("Dimensions must be equal, but are 4 and 7", "errors/layers.html", "input-shape-axis"),
    ("trainable weights: 0", "errors/layers.html", "untracked-variable"),
    ("tf.Variable never trains", "errors/layers.html", "untracked-variable"),
    ("weights not training", "errors/layers.html", "untracked-variable"),
    (
        "ValueError: A KerasTensor cannot be used as input to a TensorFlow function",
        "errors/layers.html",
        "kerastensor",
    ),
    (
        "A KerasTensor cannot be used as input to a TensorFlow function. A KerasTensor is a symbolic placeholder for a "
        "shape and dtype, used when constructing Keras Functional models or Keras Functions. You can only use it as "
        "input to a Keras layer or a Keras operation (from the namespaces `keras.layers` and `keras.ops`).",
        "errors/layers.html",
        "kerastensor",
    ),
    ("KerasTensor", "errors/layers.html", "kerastensor"),
    (
        "UserWarning: Layer 'scale' (of type Scale) was passed an input with a mask attached to it. However, this "
        "layer does not support masking and will therefore destroy the mask information. Downstream layers will not "
        "see the mask.",
        "errors/layers.html",
        "mask-lost",
    ),
    ("padding is counted", "errors/layers.html", "mask-lost"),
    (
        "ValueError: You cannot add new elements of state (variables or sub-layers) to a layer that is already built. "
        "All state must be created in the `__init__()` method or in the `build()` method.",
        "errors/layers.html",
        "state-created-late",
    ),
    (
        "tf.function only supports singleton tf.Variables created on the first call. Make sure the tf.Variable is only "
        "created once or created outside tf.function.",
        "errors/layers.html",
        "state-created-late",
    ),
    (
        "OperatorNotAllowedInGraphError: Using a symbolic `tf.Tensor` as a Python `bool` is not allowed.",
        "errors/layers.html",
        "python-if-on-a-tensor",
    ),
    ("Iterating over a symbolic `tf.Tensor` is not allowed", "errors/layers.html", "python-if-on-a-tensor"),
    ("if statement on a tensor", "errors/layers.html", "python-if-on-a-tensor"),
    ("frozen layer still trains", "errors/models.html", "trainable-after-compile"),
    ("freeze a layer after compile", "errors/models.html", "trainable-after-compile"),
    ("layer.trainable = False", "errors/models.html", "trainable-after-compile"),
    (
        "ValueError: tuple arity mismatch; expected: 2, got: 1; tuple: ('accuracy',).",
        "errors/models.html",
        "metrics-arity",
    ),
    (
        "Invalid `metrics`. `metrics` should contain metrics objects and either be a dict or a list matching the "
        "output names of the functional model ['colour', 'shape'] or match the output structure of the model: "
        "['X', 'X'].",
        "errors/models.html",
        "metrics-arity",
    ),
    ("loss: nan", "errors/models.html", "relu-cross-entropy"),
    ("categorical_crossentropy nan", "errors/models.html", "relu-cross-entropy"),
    ("loss is nan", "errors/models.html", "relu-cross-entropy"),
    ("moving mean: 0.0", "errors/models.html", "training-argument"),
    ("BatchNormalization", "errors/models.html", "training-argument"),
    ("dropout does nothing", "errors/models.html", "training-argument"),
    ("list in the order of the dict, loss: 162.0", "errors/models.html", "list-order"),
    ("losses of a dict of outputs are wrong", "errors/models.html", "list-order"),
    ("summary() shows ? and 0 (unbuilt)", "errors/models.html", "unbuilt-summary"),
    ("0 (unbuilt)", "errors/models.html", "unbuilt-summary"),
    (
        "│ hidden (Dense)                │ ?                     │  0 (unbuilt) │",
        "errors/models.html",
        "unbuilt-summary",
    ),
    ("could not locate class", "errors/saving.html", "could-not-locate-class"),
    ("TypeError: Could not locate class 'Doubled'.", "errors/saving.html", "could-not-locate-class"),
    (
        "ValueError: Unknown layer: 'Doubled'. Please ensure you are using a `keras.utils.custom_object_scope` and "
        "that this object is included in the scope.",
        "errors/saving.html",
        "could-not-locate-class",
    ),
    ("Unknown layer: 'Linear'", "errors/saving.html", "could-not-locate-class"),
    ("Could not *locate* class ~Doubled^", "errors/saving.html", "could-not-locate-class"),  # lunr's operators
    (
        "Exception encountered: Could not locate class 'Doubled'. Make sure custom classes and functions are decorated "
        "with `@keras.saving.register_keras_serializable()`. If they are already decorated, make sure they are all "
        "imported so that the decorator is run before trying to load them.",
        "errors/saving.html",
        "could-not-locate-class",
    ),
    (
        "<class 'keras.src.models.sequential.Sequential'> could not be deserialized properly",
        "errors/saving.html",
        "",
    ),
    (
        "TypeError: <class '__main__.Forecaster'> could not be deserialized properly",
        "errors/saving.html",
        "could-not-be-deserialized",
    ),
    (
        "Exception encountered: Unable to revive model from config",
        "errors/saving.html",
        "could-not-be-deserialized",
    ),
    (
        "Error encountered during deserialization: Forecaster.__init__() got an unexpected keyword argument "
        "'trainable'",
        "errors/saving.html",
        "",
    ),
    (
        "NotImplementedError: Object Projector was created by passing non-serializable argument values in "
        "`__init__()`, and therefore the object must override `get_config()` in order to be serializable. Please "
        "implement `get_config()`.",
        "errors/saving.html",
        "non-serializable-arguments",
    ),
    ("the object must override `get_config()`", "errors/saving.html", "non-serializable-arguments"),
    (
        "ValueError: Layer 'scores' expected 2 variables, but received 0 variables during loading. "
        "Expected: ['kernel', 'bias']",
        "errors/saving.html",
        "default-arguments-saved",
    ),
    (
        "Layer 'dense_3' expected 2 variables, but received 0 variables during loading.",
        "errors/saving.html",
        "default-arguments-saved",
    ),
    (
        "ValueError: You are loading weights into a model that has not yet been built. Try building the model first by "
        "calling it on some data or by using `build()`.",
        "errors/saving.html",
        "build-then-load-weights",
    ),
    (
        "UserWarning: `build()` was called on layer 'encoder_1', however the layer does not have a `build()` method "
        "implemented and it looks like it has unbuilt state",
        "errors/saving.html",
        "build-then-load-weights",
    ),
    ("weights after loading: 0", "errors/saving.html", "build-then-load-weights"),
]

INPUT, LINKS = ".md-search__input", ".md-search-result__link"

# A row holds within the first three links that are seen without unfolding anything. A page and the best section on it
# are two links, so they are two or three pages: stricter than the first three pages.
LISTEN = """() => {
  self.answered = new Promise((answer, fail) => {
    new MutationObserver(answer).observe(document.querySelector(".md-search-result__list"), { childList: true });
    setTimeout(fail, 30_000, "nothing answers");
  });
}"""
SEEN = r"""async () => {
  await self.answered;
  const links = [...document.querySelectorAll(".md-search-result__link")];
  const seen = links.filter((link) => !link.closest("details:not([open])")).slice(0, 3);
  const root = new URL(`${JSON.parse(document.querySelector("#__config").textContent).base}/`, location);
  return seen.map(({ href }) => href.replace(root, "").replace(/\?h=[^#]*/, ""));
}"""


def seen_for(page: Page, text: str) -> list[str]:
    """The links that are seen when a text takes the place of what stood in the field, and no key is pressed."""
    page.locator(INPUT).select_text()
    page.evaluate(LISTEN)
    page.keyboard.insert_text(text)
    return page.evaluate(SEEN)


OF_ENTRIES = [page for page in SITE.docs.glob("errors/*.md") if page.stem not in ("index", "check_your_own")]
"""The pages of the errors that are made of entries."""


def messages() -> dict[str, str]:
    """What the failing half of each entry of the errors prints, by the entry's address."""
    found: dict[str, str] = {}
    for page in OF_ENTRIES:
        for entry in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            anchor = re.search(r"\{ #(\S+) \}$", entry, re.MULTILINE)
            records = [match for match in INCLUDE.finditer(entry) if match["path"].endswith(".txt")]
            if anchor and records:
                section = sections(SITE.root / records[0]["path"])[records[0]["section"]]
                found[f"errors/{page.stem}.html#{anchor[1]}"] = section.text
    return found


MESSAGES = messages()

TRACEBACK = """\
Traceback (most recent call last):
  File "/home/me/project/train.py", line 41, in <module>
    model.fit(x, y, epochs=3)
    ~~~~~~~~~^^^^^^^^^^^^^^^^
  File "/home/me/.venv/lib/python3.11/site-packages/keras/src/utils/traceback_utils.py", line 122, in error_handler
    raise e.with_traceback(filtered_tb) from None
  File "/home/me/.venv/lib/python3.11/site-packages/keras/src/models/model.py", line 158, in __init__
    raise ValueError(
"""


def test_every_page_and_every_error_is_searched_for():
    entries = {
        (page.relative_to(SITE.docs).with_suffix(".html").as_posix(), anchor)
        for page in OF_ENTRIES
        for anchor in re.findall(r"^## .*\{ #(\S+) \}$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert entries
    assert entries <= {(page, anchor) for _, page, anchor in FINDS}
    assert {f"{page}#{anchor}" for page, anchor in entries} == set(MESSAGES)
    assert set(ADDRESSES) <= {page for _, page, _ in FINDS} | {"index.html", "errors/index.html"}


@pytest.fixture
def searching(page) -> Page:
    """The home page, with search open and ready."""
    page.goto("")
    page.keyboard.press("/")
    page.keyboard.type("tensor")
    page.locator(LINKS).first.wait_for()
    return page


def test_what_a_reader_asks_is_found(searching):
    found = {query: seen_for(searching, query) for query in {query: None for query, _, _ in FINDS}}
    wanted = [(query, f"{path}#{anchor}".removesuffix("#")) for query, path, anchor in FINDS]
    missed = [f"{query!r}: {link} isn't in {found[query]}" for query, link in wanted if link not in found[query]]
    assert not missed, "\n".join(missed)


@pytest.mark.parametrize("above", ["", TRACEBACK], ids=["message", "traceback"])
def test_all_that_a_terminal_shows_is_found(searching, above):
    found = {entry: seen_for(searching, above + text) for entry, text in MESSAGES.items()}
    assert not {entry: links for entry, links in found.items() if entry not in links}


PHONES = {"viewport": PHONE, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize("device", [{"viewport": DESKTOP}, PHONES], ids=["desktop", "phone"])
def test_what_comes_without_a_key_is_searched_for(open_page, device):
    """Pasted from a menu, pasted over it, cut, dictated, cleared: results and suggestion are those of the text."""
    page = open_page(**device)
    result, suggestion, meta = map(page.locator, (LINKS, ".md-search__suggest", ".md-search-result__meta"))
    page.goto("")
    if device is PHONES:
        page.get_by_role("button", name="Search").tap()
    else:
        page.locator(INPUT).click()
    expect(page.locator(INPUT)).to_be_focused()

    paste(page, MESSAGES["errors/saving.html#could-not-locate-class"])
    expect(page.locator(f"{LINKS}[href$='#could-not-locate-class']").first).to_be_in_viewport()
    page.locator(INPUT).select_text()
    page.keyboard.type("tens")
    expect(suggestion).to_have_text("tensor")
    page.locator(INPUT).select_text()
    paste(page, "layer")
    expect(suggestion).to_have_text(re.compile("^layers?$"))  # no word of what was there before
    expect(result.first).to_have_attribute("href", re.compile(r"\?h=layer"))

    page.locator(INPUT).select_text()
    assert page.evaluate("document.execCommand('cut')")
    expect(meta).to_have_text("Type to start searching")
    expect(result).to_have_count(0)
    page.keyboard.insert_text("KerasTensor")  # as a voice does
    expect(page.locator(f"{LINKS}[href$='#kerastensor']").first).to_be_in_viewport()
    clear = page.get_by_role("button", name="Clear")
    clear.tap() if device is PHONES else clear.click()
    expect(meta).to_have_text("Type to start searching")
    expect(result).to_have_count(0)


def paste(page: Page, text: str) -> None:
    """As the context menu does."""
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    assert page.evaluate("document.execCommand('paste')")


def test_search_works_on_a_page_that_a_link_led_to(page):
    """In another folder than the first one, without a reload between."""
    page.goto("index.html")
    page.evaluate("self.stayed = true")
    page.locator(".md-content a[href$='layers/custom_layer.html']").first.click()
    expect(page).to_have_title(re.compile("^Create a custom layer"))
    assert page.evaluate("self.stayed")
    page.wait_for_load_state("networkidle")  # the theme closes the search once it has put the page in place
    page.keyboard.press("/")
    page.keyboard.type("get_config")
    expect(page.locator(LINKS).first).to_be_visible()


def test_a_result_tells_of_missing_words_only_what_was_typed(page):
    page.goto("?q=add_weight+of+a+custom+zebra")
    missing = page.locator(".md-search-result__terms")
    missing.first.wait_for()
    told = set(" ".join(missing.all_text_contents()).replace("Missing", "").replace(":", "").replace(",", "").split())
    assert "zebra" in told
    assert told <= {"add", "weight", "of", "a", "custom", "zebra"}


@pytest.mark.parametrize(
    "touch",
    [
        lambda page: page.locator(INPUT).hover(),
        lambda page: page.locator(INPUT).focus(),
        lambda page: page.locator(INPUT).click(),
        lambda page: page.keyboard.press("/"),
    ],
    ids=["hover", "focus", "click", "hotkey"],
)
def test_the_index_is_fetched_once_and_not_before_search_is_touched(page, touch):
    fetched = []
    page.on("request", lambda request: fetched.append(request.url) if "search_index" in request.url else None)
    page.goto("layers/custom_layer.html", wait_until="networkidle")
    assert not fetched
    with page.expect_request("**/search_index.json"):
        touch(page)
    page.locator(INPUT).press_sequentially("get_config")
    page.locator(LINKS).first.wait_for()
    page.locator(LINKS).first.click()
    page.wait_for_url("**/*h=*")
    assert len(fetched) == 1


def test_a_link_with_a_query_opens_with_its_results(page):
    page.goto("?q=add_weight")
    expect(page.locator(LINKS).first).to_be_visible()
    assert "layers/custom_layer.html" in page.locator(LINKS).first.get_attribute("href")


@pytest.fixture
def from_folder(built, browser) -> Iterator[Page]:
    """A page that is opened without a server; fails on errors in the console and on what is asked of elsewhere."""
    page = browser.new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(built.as_uri()) else wrong.append(request.url))
    yield page
    page.close()
    assert not wrong


@pytest.mark.parametrize("path", ADDRESSES)
def test_search_works_on_every_page_from_a_folder(from_folder, built, path):
    page = from_folder
    page.goto((built / path).as_uri())
    page.keyboard.press("/")
    page.keyboard.type("add_weight")
    expect(page.locator(f"{LINKS}[href*='layers/custom_layer.html']").first).to_be_visible()
    entry = "errors/models.html#metrics-arity"
    assert entry in seen_for(page, MESSAGES[entry])
    page.locator(f"{LINKS}[href$='#metrics-arity']").first.click()
    expect(page.locator("h2#metrics-arity")).to_be_in_viewport()


def test_the_built_site_works_from_a_folder(from_folder, built):
    page = from_folder
    page.goto((built / "layers/custom_layer.html").as_uri())
    assert page.locator(".md-header").evaluate("header => getComputedStyle(header).position") == "sticky"
    for name in ("Switch to light mode", "Switch to dark mode"):
        page.get_by_title(name).click()
    with page.expect_navigation():
        page.get_by_role("link", name="Next: ").click()
    expect(page).to_have_title(re.compile("^Create a custom model"))
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
