"""What a reader types or pastes finds the page that answers it, in the built site, with a server or without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from engine.publish.search import COMMENT
from engine.site import INCLUDE, sections
from tests.site import ADDRESSES, DESKTOP, PHONE, SITE

# Each row: what a reader types, the page that answers, and the anchor of the section that does ("" is the page itself).
# It is among the first three links.
FINDS = [
    ("padding is counted", "errors/layers.html", "mask-lost"),
    ("custom layer", "layers/custom_layer.html", ""),
    ("custom layers", "layers/custom_layer.html", ""),
    ("how to create a custom layer", "layers/custom_layer.html", ""),
    ("class inheritance", "layers/custom_layer.html", ""),
    ("initialization", "layers/custom_layer.html", ""),
    ("build method", "layers/custom_layer.html", ""),
    ("call method", "layers/custom_layer.html", ""),
    ("tf.keras.layers.Layer", "layers/custom_layer.html", ""),
    ("how to write my own keras layer", "layers/custom_layer.html", ""),
    (
        "Step by step method to implement a custom layer in keras with 2D /3D tensor as input",
        "layers/custom_layer.html",
        "",
    ),
    ("help in making custom keras layer", "layers/custom_layer.html", ""),
    ("Implement simple custom Layer", "layers/custom_layer.html", ""),
    ("Writing custom layers for keras", "layers/custom_layer.html", ""),
    ("compute_output_shape", "layers/custom_layer.html", "compute-output-shape"),
    ("compute output shape for custom layer", "layers/custom_layer.html", "compute-output-shape"),
    ("add_weight", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("add weight", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("addweight", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("self.add_weight(", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("create weights in build", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("trainable parameter in custom layer", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("difference between __init__ and build", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("where should I create weights", "layers/custom_layer.html", "create-the-weights-in-build"),
    ("learnable scalar parameter keras", "layers/custom_layer.html", "create-the-weights-in-build"),
    (
        "How to add a trainable hadamard product layer in keras?",
        "layers/custom_layer.html",
        "create-the-weights-in-build",
    ),
    (
        "What is the difference between build and __init__ in keras layers",
        "layers/custom_layer.html",
        "create-the-weights-in-build",
    ),
    ("get_config", "saving/configs.html", ""),
    ("getconfig", "saving/configs.html", ""),
    ("save and load a custom layer", "layers/custom_layer.html", "save-and-load-it"),
    ("load model with custom layer", "layers/custom_layer.html", "save-and-load-it"),
    ("register custom class for serialization", "layers/custom_layer.html", "save-and-load-it"),
    ("what is register_keras_serializable package", "layers/custom_layer.html", "save-and-load-it"),
    ("regularization loss in custom layer", "layers/custom_layer.html", "take-options-as-the-built-in-layers-do"),
    ("add l2 penalty", "layers/custom_layer.html", "take-options-as-the-built-in-layers-do"),
    ("layer with non trainable variable", "layers/custom_layer.html", "what-else"),
    ("activity regularizer add_loss", "layers/custom_layer.html", "what-else"),
    ("mixed precision custom layer", "layers/custom_layer.html", "what-else"),
    ("dtype float16 layer", "layers/custom_layer.html", "what-else"),
    ("How do I use mixed precision with my own layer", "layers/custom_layer.html", "what-else"),
    ("stateful counter layer", "layers/custom_layer.html", "what-else"),
    ("class inheritance", "models/custom_model.html", ""),
    ("initialization", "models/custom_model.html", ""),
    ("call method", "models/custom_model.html", ""),
    ("custom model", "models/custom_model.html", ""),
    ("custom models", "models/custom_model.html", ""),
    ("how to create a custom model", "models/custom_model.html", ""),
    ("subclass tf.keras.Model", "models/custom_model.html", ""),
    (
        "Weights for model have not yet been created. Weights are created when the Model is first called",
        "models/custom_model.html",
        "let-the-first-call-create-the-weights",
    ),
    ("replace last layer pretrained model", "models/custom_model.html", "replace-a-layer"),
    ("change number of classes", "models/custom_model.html", "replace-a-layer"),
    ("nested submodel", "models/custom_model.html", "replace-a-layer"),
    ("save subclassed model", "models/custom_model.html", "save-and-load-it"),
    ("`Model` subclasses cannot be loaded without losing their class", "models/custom_model.html", "save-and-load-it"),
    ("Saving/Loading Subclassed Models", "models/custom_model.html", "save-and-load-it"),
    ("training flag in call", "models/custom_model.html", "take-training-in-call"),
    ("dropout active during predict", "models/custom_model.html", "take-training-in-call"),
    ("gradient accumulation", "training/custom_optimizer.html", "accumulate"),
    ("gradient accumulation train_step", "training/custom_optimizer.html", "accumulate"),
    ("print learning rate every epoch callback", "training/custom_callback.html", "loss-weight"),
    ("custom callback save best model and stop when", "training/custom_callback.html", "stop"),
    ("focal loss multiclass keras 3", "training/custom_loss.html", ""),
    ("loss function that needs the input x as well as y_true y_pred", "training/custom_loss.html", "more-than-two"),
    ("costum loss function returns nan after few epochs", "errors/models.html", "nan-of-your-own"),
    ("masked softmax attention nan", "errors/models.html", "nan-of-your-own"),
    ("custom metric f1 score whole epoch not per batch", "training/custom_metric.html", "sums"),
    ("get_config layer that takes another layer as argument", "errors/saving.html", "could-not-be-deserialized"),
    ("custom callback keras", "training/custom_callback.html", ""),
    ("early stopping callback", "training/custom_callback.html", "stop"),
    ("stop training when accuracy reaches 99%", "training/custom_callback.html", "stop"),
    ("access y_true and y_pred in callback", "training/custom_callback.html", "batch"),
    ("How to access input data in a keras callback", "training/custom_callback.html", "layer-outputs"),
    ("KL annealing callback", "training/custom_callback.html", "loss-weight"),
    ("change loss weights during training", "training/custom_callback.html", "loss-weight"),
    ("evaluate on another dataset after each epoch", "training/custom_callback.html", "evaluate-in-a-batch"),
    ("what is in logs on_epoch_end", "training/custom_callback.html", "methods"),
    ("how to do early stopping in custom training loop", "training/training_loop.html", ""),
    ("custom models with multiple inputs and outputs", "models/multiple_inputs_outputs.html", ""),
    ("multiple inputs/outputs", "models/multiple_inputs_outputs.html", ""),
    ("multiple inputs", "models/multiple_inputs_outputs.html", ""),
    ("multiple outputs", "models/multiple_inputs_outputs.html", ""),
    ("functional API", "models/multiple_inputs_outputs.html", ""),
    ("dictionary of inputs keras", "models/multiple_inputs_outputs.html", ""),
    ("Keras functional API: two inputs and one output", "models/multiple_inputs_outputs.html", ""),
    (
        "model with two outputs different losses",
        "models/multiple_inputs_outputs.html",
        "give-each-output-its-loss-metric-and-weight",
    ),
    (
        "loss weights for several outputs",
        "models/multiple_inputs_outputs.html",
        "give-each-output-its-loss-metric-and-weight",
    ),
    ("metrics for each output", "models/multiple_inputs_outputs.html", "give-each-output-its-loss-metric-and-weight"),
    (
        "How to use different metrics for multi-output tasks?",
        "models/multiple_inputs_outputs.html",
        "give-each-output-its-loss-metric-and-weight",
    ),
    (
        "training with multiple losses",
        "models/multiple_inputs_outputs.html",
        "give-each-output-its-loss-metric-and-weight",
    ),
    (
        "Keras with multiple outputs: cannot evaluate a metric without associated loss",
        "models/multiple_inputs_outputs.html",
        "give-each-output-its-loss-metric-and-weight",
    ),
    ("multi-output logs", "models/multiple_inputs_outputs.html", "give-each-output-its-loss-metric-and-weight"),
    ("Use class weight with multi output model", "training/feeding_data.html", "class-weights"),
    ("class weights imbalance", "training/feeding_data.html", "class-weights"),
    (
        "`class_weight` is only supported for Models with a single output.",
        "training/feeding_data.html",
        "class-weights",
    ),
    ("tf.data pipeline", "training/feeding_data.html", ""),
    ("fit with tf.data.Dataset", "training/feeding_data.html", ""),
    ("sample_weight with multiple outputs", "training/feeding_data.html", "a-complete-program"),
    ("Your input ran out of data; interrupting training", "training/feeding_data.html", "generator"),
    ("python generator fit keras", "training/feeding_data.html", "generator"),
    ("keras.utils.Sequence", "training/feeding_data.html", "pydataset"),
    ("PyDataset workers", "training/feeding_data.html", "pydataset"),
    ("shuffle same order every epoch", "training/feeding_data.html", "order"),
    ("drop_remainder", "training/feeding_data.html", "last-batch"),
    ("reproducible results keras", "training/reproducible_training.html", ""),
    ("set_random_seed", "training/reproducible_training.html", ""),
    ("same seed different results", "training/reproducible_training.html", ""),
    ("notebook different results each time", "training/reproducible_training.html", "cell"),
    ("tf.random.set_seed not working", "training/reproducible_training.html", "tensorflow-seed"),
    ("kernel_initializer seed", "training/reproducible_training.html", "one-more"),
    ("num_parallel_calls random not deterministic", "training/reproducible_training.html", "parallel"),
    ("TF_ENABLE_ONEDNN_OPTS", "training/reproducible_training.html", "rounding"),
    ("enable_op_determinism", "training/reproducible_training.html", "op-determinism"),
    (
        "RuntimeError: Random ops require a seed to be set when determinism is enabled. Please set a seed",
        "training/reproducible_training.html",
        "op-determinism",
    ),
    ("compare two training runs", "training/reproducible_training.html", "trail"),
    ("mean and standard deviation over seeds", "training/reproducible_training.html", "seeds"),
    ("missing labels nan targets", "training/feeding_data.html", "missing-labels"),
    ("RaggedTensor fit", "training/feeding_data.html", "sequences"),
    ("padded_batch", "training/feeding_data.html", "sequences"),
    (
        "ValueError: as_list() is not defined on an unknown TensorShape.",
        "training/feeding_data.html",
        "unknown-shape",
    ),
    ("optional input missing", "models/multiple_inputs_outputs.html", "missing-input"),
    ("KeyError when leaving out an input", "models/multiple_inputs_outputs.html", "missing-input"),
    ("shared layers", "models/multiple_inputs_outputs.html", "share-a-layer-between-inputs"),
    ("siamese network", "models/multiple_inputs_outputs.html", "share-a-layer-between-inputs"),
    ("share weights between two branches", "models/multiple_inputs_outputs.html", "share-a-layer-between-inputs"),
    (
        "How to share layer weights in custom Keras model",
        "models/multiple_inputs_outputs.html",
        "share-a-layer-between-inputs",
    ),
    ("subclassed model with multiple inputs", "models/multiple_inputs_outputs.html", "the-same-model-as-a-subclass"),
    ("functional vs subclass", "models/multiple_inputs_outputs.html", "the-same-model-as-a-subclass"),
    ("get output of intermediate layer", "models/multiple_inputs_outputs.html", "the-same-model-as-a-subclass"),
    (
        "How to get the output of an intermediate layer in Keras",
        "models/multiple_inputs_outputs.html",
        "the-same-model-as-a-subclass",
    ),
    ("diffusion", "tutorials/diffusion.html", ""),
    ("diffusion model training loop", "tutorials/diffusion.html", ""),
    ("denoising diffusion ddpm", "tutorials/diffusion.html", ""),
    ("generate points with diffusion", "tutorials/diffusion.html", ""),
    ("draw samples from noise", "tutorials/diffusion.html", "draw-samples-from-noise"),
    ("score function", "tutorials/diffusion.html", "see-where-the-model-pulls"),
    ("sinusoidal position embeddings", "tutorials/diffusion.html", "tell-the-model-the-time"),
    ("timestep embedding", "tutorials/diffusion.html", "tell-the-model-the-time"),
    ("equation to layer", "tutorials/equation_to_layer.html", ""),
    ("quadratic layer", "tutorials/equation_to_layer.html", ""),
    ("decision surface", "tutorials/equation_to_layer.html", "look-at-the-decision-surface-before-training"),
    ("image and table", "tutorials/image_and_table.html", ""),
    ("image and table two outputs", "tutorials/image_and_table.html", ""),
    ("concatenate image features and tabular data", "tutorials/image_and_table.html", ""),
    ("multimodal model keras", "tutorials/image_and_table.html", ""),
    ("how to combine numerical features with images in CNN", "tutorials/image_and_table.html", ""),
    ("FiLM", "tutorials/image_and_table.html", "write-the-layer-that-joins-them"),
    ("feature-wise linear modulation", "tutorials/image_and_table.html", "write-the-layer-that-joins-them"),
    ("conditional batch norm", "tutorials/image_and_table.html", "write-the-layer-that-joins-them"),
    ("film conditioning", "tutorials/image_and_table.html", "write-the-layer-that-joins-them"),
    ("transformer", "tutorials/transformer.html", ""),
    ("positional encoding", "tutorials/transformer.html", "embed-tokens-and-make-the-mask"),
    ("Keras positional embedding layer", "tutorials/transformer.html", "embed-tokens-and-make-the-mask"),
    ("How to visualize attention weights", "tutorials/transformer.html", "read-the-attention-maps"),
    ("the mask gets lost", "tutorials/transformer.html", "the-mask-gets-lost"),
    ("attention mask", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("multi-head attention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("MultiHeadAttention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("multiheadattention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("padding ignored in attention", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("self attention from scratch", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("How to implement attention layer in keras", "tutorials/transformer.html", "write-multi-head-self-attention"),
    ("variational autoencoder", "tutorials/variational_autoencoder.html", ""),
    ("train_step", "tutorials/variational_autoencoder.html", "add-one-loss-to-another-in-train_step"),
    ("KL divergence", "tutorials/variational_autoencoder.html", "pull-the-codes-towards-one-distribution"),
    ("VAE keras loss", "tutorials/variational_autoencoder.html", "pull-the-codes-towards-one-distribution"),
    ("KL term", "tutorials/variational_autoencoder.html", "pull-the-codes-towards-one-distribution"),
    ("reparameterization trick", "tutorials/variational_autoencoder.html", "sample-so-that-the-gradient-gets-through"),
    ("sampling layer", "tutorials/variational_autoencoder.html", "sample-so-that-the-gradient-gets-through"),
    (
        "reparametrisation trick implementation",
        "tutorials/variational_autoencoder.html",
        "sample-so-that-the-gradient-gets-through",
    ),
    ("posterior collapse", "tutorials/variational_autoencoder.html", "what-goes-wrong"),
    ("KL divergence goes to zero VAE", "tutorials/variational_autoencoder.html", "what-goes-wrong"),
    ("advantages", "decisions/advantages.html", ""),
    ("learning rate schedule", "training/custom_optimizer.html", "learning-rate-schedule"),
    ("different learning rate per layer", "training/custom_optimizer.html", "layerwise"),
    ("custom train_step sample_weight", "training/train_step.html", ""),
    ("training loop from scratch", "training/training_loop.html", ""),
    ("compare train_step with fit", "training/equal_to_fit.html", ""),
    ("custom loop gives another loss than fit", "training/equal_to_fit.html", ""),
    ("custom training loop different results than model.fit", "training/equal_to_fit.html", ""),
    ("reshuffle_each_iteration", "training/equal_to_fit.html", "order"),
    ("weighted_metrics vs metrics", "training/equal_to_fit.html", "means"),
    ("save and reload a model with custom layers", "saving/save_and_reload.html", ""),
    ("loaded model gives different results", "saving/what_comes_back.html", ""),
    ("is everything saved in a .keras file", "saving/what_comes_back.html", ""),
    ("learning rate after loading", "saving/what_comes_back.html", "model"),
    ("mixed precision after loading", "saving/what_comes_back.html", "policy"),
    ("Skipping variable loading for optimizer 'adam'", "saving/what_comes_back.html", "policy"),
    ("what to return from get_config", "saving/configs.html", ""),
    ("get_config and from_config", "saving/configs.html", ""),
    ("my layer's argument isn't saved", "saving/configs.html", "by-itself"),
    ("tuple becomes list in config", "saving/configs.html", "values"),
    ("list of layers in get_config", "saving/configs.html", "objects"),
    ("unfrozen after load_model", "saving/configs.html", "objects"),
    ("model.export", "saving/export.html", ""),
    ("export saved model", "saving/export.html", ""),
    ("deploying a keras model", "saving/export.html", ""),
    ("tflite conversion", "saving/litert_and_onnx.html", ""),
    ("convert keras model to tflite custom layer", "saving/litert_and_onnx.html", ""),
    ("convert to onnx", "saving/litert_and_onnx.html", ""),
    ("Select TensorFlow op(s) not supported by this interpreter", "saving/litert_and_onnx.html", "operations"),
    ("tflite different output", "saving/litert_and_onnx.html", "silent"),
    ("tflite input order", "saving/litert_and_onnx.html", "names"),
    ("float16 tflite", "saving/litert_and_onnx.html", "size"),
    ("lstm tflite", "saving/litert_and_onnx.html", ""),
    ("No Op registered for Erfc", "saving/litert_and_onnx.html", "operations"),
    ("XNNPack delegate failed to reshape", "errors/export.html", "litert-onnx"),
    ("deploy model with tf serving", "saving/export.html", "serve"),
    ("tensorflow serving rest api", "saving/export.html", "serve"),
    ("dropout in exported model", "saving/export.html", "frozen"),
    ("Could not find callback", "saving/export.html", "frozen"),
    ("export signatures", "saving/export.html", "names"),
    ("args_0", "saving/export.html", "names"),
    ("serving_default", "saving/export.html", "names"),
    ("preprocessing in saved model", "saving/export.html", "endpoints"),
    ("ExportArchive", "saving/export.html", "endpoints"),
    ("untracked resource", "saving/export.html", "endpoints"),
    ("TFSMLayer", "saving/export.html", "again"),
    ("The model provided has never called", "errors/export.html", "never-called"),
    ("register_keras_serializable package", "saving/configs.html", "register"),
    ("same class name registered twice", "saving/configs.html", "register"),
    ("new argument and my old file doesn't load", "saving/configs.html", "changed"),
    ("model_from_json", "saving/configs.html", "round-trip"),
    ("load part of the weights", "saving/weights.html", ""),
    ("load weights with another number of classes", "saving/weights.html", ""),
    ("does load_weights go by name", "saving/weights.html", "order"),
    ("skip_mismatch=True", "saving/weights.html", "skip-mismatch"),
    ("load_weights by_name", "saving/weights.html", "by-name"),
    ("order of get_weights", "saving/weights.html", "by-name"),
    ("layers in a set not saved", "saving/weights.html", "containers"),
    ("freeze batch normalization", "saving/weights.html", "freeze"),
    ("clone_model with weights", "saving/weights.html", "swap"),
    ("LoRA", "saving/weights.html", "wrap"),
    ("quantize a model", "saving/smaller.html", ""),
    ("int8 custom layer", "saving/smaller.html", ""),
    ("does not have a `quantize` method implemented", "saving/smaller.html", "stays-float"),
    ("custom layer is not quantized", "saving/smaller.html", "stays-float"),
    ("QLoRA", "saving/smaller.html", "lora"),
    ("enable_lora inside a custom layer", "saving/smaller.html", "lora-inside"),
    ("load a quantized model", "saving/smaller.html", "load"),
    ("activation_quantizer=None", "saving/smaller.html", "range"),
    ("output of an intermediate layer", "saving/weights.html", "intermediate"),
    ("load PyTorch weights into Keras model", "saving/weights.html", "pytorch"),
    ("state_dict", "saving/weights.html", "pytorch"),
    ("save a vocabulary with the model", "saving/state_and_files.html", ""),
    ("save_assets", "saving/state_and_files.html", ""),
    ("custom state in a saved model", "saving/state_and_files.html", ""),
    ("StaticHashTable not saved", "saving/state_and_files.html", "where"),
    ("zipped=False", "saving/state_and_files.html", "assets"),
    ("save_own_variables", "saving/state_and_files.html", "own-variables"),
    ("build_from_config", "saving/state_and_files.html", "build"),
    ("custom compile arguments saved", "saving/state_and_files.html", "compile"),
    ("TextVectorization different after loading", "saving/state_and_files.html", "vocabularies"),
    ("adapt after predict has no effect", "saving/state_and_files.html", "stale"),
    ("is load_assets safe", "saving/state_and_files.html", "not"),
    ("load a keras 2 model in keras 3", "saving/keras_2_files.html", ""),
    ("load old h5 model", "saving/keras_2_files.html", ""),
    ("Unrecognized keyword arguments passed to LSTM: {'time_major': False}", "saving/keras_2_files.html", "load"),
    ("Unknown layer: 'TFOpLambda'", "saving/keras_2_files.html", "load"),
    ("hard_sigmoid keras 3", "saving/keras_2_files.html", "silent"),
    ("load TF checkpoint in keras 3", "saving/keras_2_files.html", "checkpoint"),
    ("TF_USE_LEGACY_KERAS", "saving/keras_2_files.html", "checkpoint"),
    ("resume training from a checkpoint", "saving/resume_training.html", ""),
    ("loss jumps after loading", "saving/resume_training.html", ""),
    ("optimizer state isn't restored", "saving/resume_training.html", ""),
    ("epoch counter starts at 0", "saving/resume_training.html", ""),
    ("BackupAndRestore starts from epoch 0", "saving/resume_training.html", "backup-and-restore"),
    ("ModelCheckpoint save_best_only starts anew", "saving/resume_training.html", "best"),
    ("EarlyStopping after resume", "saving/resume_training.html", "best"),
    ("Unresolved object in checkpoint", "saving/resume_training.html", "loop"),
    ("tf.train.Checkpoint with Keras 3", "saving/resume_training.html", "loop"),
    ("learning rate after load_model", "saving/resume_training.html", "settings"),
    ("preempted slurm job", "saving/resume_training.html", "sigterm"),
    ("resume in the middle of an epoch", "saving/resume_training.html", "order"),
    ("custom metric class", "training/custom_metric.html", ""),
    ("How can I add own metric?", "training/custom_metric.html", ""),
    ("F1 score metric wrong over batches", "training/custom_metric.html", "sums"),
    ("metric does not reset between epochs", "training/custom_metric.html", "reset-state"),
    ("sample_weight ignored in custom loss", "training/custom_loss.html", "return-one-value-for-each-sample"),
    ("loss depends on two outputs", "training/custom_loss.html", "compute-loss"),
    ("custom loss function", "training/custom_loss.html", ""),
    ("custom loss function with extra parameter", "training/custom_loss.html", ""),
    ("quantile loss", "training/custom_loss.html", ""),
    (
        "Keras: custom loss function with additional dynamic parameter",
        "training/custom_loss.html",
        "",
    ),
    ("Custom loss function in Keras with multiple inputs", "training/custom_loss.html", ""),
    ("quantile regresion keras", "training/custom_loss.html", ""),
    ("custom optimizer", "decisions/advantages.html", "an-optimizer-of-your-own"),
    ("write own optimizer", "training/custom_optimizer.html", ""),
    ("custom gradient descent update rule", "training/custom_optimizer.html", ""),
    ("physics informed neural network in keras", "training/custom_gradient.html", "derivative-in-the-loss"),
    ("tf.custom_gradient", "training/custom_gradient.html", ""),
    ("straight-through estimator", "training/custom_gradient.html", "a-complete-program"),
    ("gradient reversal layer", "training/custom_gradient.html", "reverse"),
    ("grad_fn must accept keyword argument 'variables'", "training/custom_gradient.html", "variables"),
    ("gan training", "training/two_networks.html", ""),
    ("WGAN gradient penalty keras", "training/two_networks.html", "wgan-gp"),
    ("keras two optimizers in train_step", "training/two_networks.html", ""),
    ("save GAN resume training", "training/two_networks.html", "resume"),
    ("discriminator.trainable = False", "training/two_networks.html", "freeze"),
    ("knowledge distillation", "training/teacher_student.html", ""),
    ("distillation temperature", "training/teacher_student.html", "temperature"),
    ("SwapEMAWeights", "training/teacher_student.html", "ema"),
    ("stochastic weight averaging", "training/teacher_student.html", "ema"),
    ("mean teacher", "training/teacher_student.html", "mean-teacher"),
    ("freeze part of a weight", "training/custom_gradient.html", "freeze-part"),
    ("exclude_from_weight_decay", "training/custom_optimizer.html", "weight-decay"),
    ("weight decay AdamW bias", "training/custom_optimizer.html", "weight-decay"),
    ("contrastive loss", "training/contrastive_learning.html", ""),
    ("SimCLR keras", "training/contrastive_learning.html", ""),
    ("triplet loss", "training/contrastive_learning.html", "triplets"),
    ("face recognition embeddings", "training/contrastive_learning.html", ""),
    ("embeddings collapse to the same", "training/contrastive_learning.html", "collapse"),
    ("multi gpu training", "training/several_devices.html", ""),
    ("MirroredStrategy", "training/several_devices.html", ""),
    ("custom training loop with MirroredStrategy", "training/several_devices.html", ""),
    ("Mixing different tf.distribute.Strategy objects", "training/several_devices.html", "raises"),
    ("batch normalization on multiple GPUs", "training/several_devices.html", "differs"),
    ("MultiWorkerMirroredStrategy", "training/several_machines.html", ""),
    ("TF_CONFIG", "training/several_machines.html", ""),
    ("Attempt to convert a value PerReplica", "training/several_machines.html", "fit"),
    ("stop_gradient", "training/custom_gradient.html", "stop-gradient"),
    ("How to write custom optimizer in tensorflow 2", "training/custom_optimizer.html", ""),
    ("custom operations", "decisions/advantages.html", "custom-operations"),
    ("fine-grained control", "decisions/advantages.html", "fine-grained-control"),
    ("flexibility", "decisions/advantages.html", "flexibility"),
    ("disadvantages", "decisions/disadvantages.html", ""),
    ("check gradients numerically", "decisions/disadvantages.html", "gradients-like-finite-differences"),
    ("numerically verify backprop in tensorflow", "decisions/disadvantages.html", "gradients-like-finite-differences"),
    ("increased complexity", "decisions/disadvantages.html", "increased-complexity"),
    ("LayerNormalisation from scratch", "decisions/disadvantages.html", "increased-complexity"),
    ("potential for bugs", "decisions/disadvantages.html", "potential-for-bugs"),
    ("my layer gives different results for batch size 1", "decisions/disadvantages.html", "potential-for-bugs"),
    ("why does softmax along wrong axis not raise", "decisions/disadvantages.html", "potential-for-bugs"),
    ("my custom training loop is slow", "training/fast_and_small.html", ""),
    ("triggered tf.function retracing", "training/fast_and_small.html", "a-complete-program"),
    ("reduce_retracing", "training/fast_and_small.html", "traces"),
    ("model.predict in a loop is slow", "training/fast_and_small.html", "fit"),
    ("jit_compile", "training/fast_and_small.html", "jit-compile"),
    ("Detected unsupported operations when trying to compile graph", "training/fast_and_small.html", "jit-compile"),
    ("layer overflows in float16", "training/fast_and_small.html", "mixed-precision"),
    ("LossScaleOptimizer", "training/fast_and_small.html", "loss-scale"),
    ("memory leak", "training/fast_and_small.html", "memory"),
    ("clear_session", "training/fast_and_small.html", "memory"),
    ("memory of the optimizer", "training/fast_and_small.html", "size"),
    ("benchmark", "training/fast_and_small.html", "cost"),
    ("is custom layer slower", "decisions/disadvantages.html", "potential-for-inefficiencies"),
    ("performance of custom layers", "decisions/disadvantages.html", "potential-for-inefficiencies"),
    ("Keras retracing warning tf.function", "decisions/disadvantages.html", "potential-for-inefficiencies"),
    ("compare my layer to keras Dense", "decisions/disadvantages.html", "the-same-as-the-built-in-or-as-numpy"),
    ("model not the same after loading", "decisions/disadvantages.html", "the-same-outputs-after-reloading"),
    ("predictions differ after reload", "decisions/disadvantages.html", "the-same-outputs-after-reloading"),
    ("when to use custom layers and models", "decisions/when_to_use.html", ""),
    ("use cases", "decisions/when_to_use.html", ""),
    ("custom activation function", "decisions/when_to_use.html", "a-function-needs-no-layer"),
    (
        "activation function with learnable parameter",
        "decisions/when_to_use.html",
        "an-operation-with-a-weight-is-a-layer",
    ),
    ("lambda layer vs custom layer", "decisions/when_to_use.html", "choose-the-smallest-thing-that-does-it"),
    (
        "when do I need subclassing instead of functional api",
        "decisions/when_to_use.html",
        "choose-the-smallest-thing-that-does-it",
    ),
    ("complex architecture", "decisions/when_to_use.html", "complex-architecture"),
    ("residual connection", "decisions/when_to_use.html", "complex-architecture"),
    ("add skip connections in keras sequential", "decisions/when_to_use.html", "complex-architecture"),
    ("custom training loops", "decisions/when_to_use.html", "custom-training-loops"),
    ("GradientTape", "training/training_loop.html", ""),
    ("gradienttape", "training/training_loop.html", ""),
    ("tf.GradientTape()", "training/training_loop.html", ""),
    ("training loop from scratch tf.GradientTape", "training/training_loop.html", ""),
    ("tf.GradientTape() can't train custom subclassing model.", "training/training_loop.html", ""),
    ("How to apply gradients manually in Keras", "training/training_loop.html", ""),
    ("override train_step", "training/train_step.html", ""),
    ("Customizing train_step when using distribute.strategy ?", "training/train_step.html", ""),
    (
        "loss and accuracy different on Custom fit function using train_step function compared to normal training",
        "training/train_step.html",
        "",
    ),
    ("non-standard operations", "decisions/when_to_use.html", "non-standard-operations"),
    ("Implement sine activation function keras", "decisions/when_to_use.html", "non-standard-operations"),
    ("huber loss own implementation", "training/training_loop.html", "clip-each-sample"),
    ("gradient clipping per example", "decisions/when_to_use.html", "what-fit-doesnt-do-clip-each-samples-gradient"),
    ("per example gradients tensorflow", "training/training_loop.html", "clip-each-sample"),
    ("checkup", "errors/check_your_own.html", ""),
    ("check your own layer", "errors/check_your_own.html", ""),
    ("test my custom layer", "errors/check_your_own.html", ""),
    ("unit test for layer", "errors/check_your_own.html", ""),
    ("a layer that runs, and is wrong", "errors/check_your_own.html", "a-layer"),
    ("wrong forms and unusual right ones", "errors/check_your_own.html", "limits"),
    ("assert_clean", "errors/check_your_own.html", "own-checks"),
    ("leave a check out", "errors/check_your_own.html", "own-checks"),
    ("got multiple values for argument shape", "errors/layers.html", "add-weight-name"),
    ("unexpected keyword argument name", "errors/layers.html", "init-kwargs"),
    ("TypeError: __init__() got an unexpected keyword argument 'ragged'", "errors/layers.html", "init-kwargs"),
    ("shape mismatch matmul custom layer", "errors/layers.html", "input-shape-axis"),
    ("None dimension in add_weight", "errors/layers.html", "input-shape-axis"),
    (
        "ValueError: Input 0 of layer dense is incompatible with the layer: expected axis -1 of input shape to have "
        "value 64 but received input with shape (None, 32)",
        "errors/layers.html",
        "input-shape-axis",
    ),
    ("tf ops on keras input error", "errors/layers.html", "kerastensor"),
    ("KerasTensor cannot be used", "errors/layers.html", "kerastensor"),
    ("AttributeError: 'KerasTensor' object has no attribute", "errors/layers.html", "kerastensor"),
    ("supports_masking", "errors/layers.html", "mask-lost"),
    ("mask propagation embedding", "errors/layers.html", "mask-lost"),
    ("How does masking work in Keras custom layers", "errors/layers.html", "mask-lost"),
    ("if statement in call method", "errors/layers.html", "python-if-on-a-tensor"),
    ("using a `tf.Tensor` as a Python `bool`", "errors/layers.html", "python-if-on-a-tensor"),
    ("for loop over tensor in layer", "errors/layers.html", "python-if-on-a-tensor"),
    (
        "using a tf.Tensor as a Python bool is not allowed in Graph execution",
        "errors/layers.html",
        "python-if-on-a-tensor",
    ),
    ("What is autograph doing to my for loop", "errors/layers.html", "python-if-on-a-tensor"),
    ("creating variable inside call", "errors/layers.html", "state-created-late"),
    (
        "tf.function-decorated function tried to create variables on non-first call",
        "errors/layers.html",
        "state-created-late",
    ),
    ("weights not updating during training", "errors/layers.html", "untracked-variable"),
    ("variable not in trainable_variables", "errors/layers.html", "untracked-variable"),
    ("list of layers in model not trained", "errors/layers.html", "untracked-variable"),
    ("TensorFlow custom layer weights not showing in trainable_weights", "errors/layers.html", "untracked-variable"),
    ("dict of losses keras order wrong", "errors/models.html", "list-order"),
    ("loss becomes nan after few epochs", "errors/models.html", "relu-cross-entropy"),
    ("loss not decreasing", "errors/models.html", "relu-cross-entropy"),
    ("accuracy stuck", "errors/models.html", "relu-cross-entropy"),
    ("When the loss is nan in tensorflow how to debug", "errors/models.html", "relu-cross-entropy"),
    ("froze layer but weights still changed", "errors/models.html", "trainable-after-compile"),
    ("freezing layers for training not working", "errors/models.html", "trainable-after-compile"),
    ("unfreeze layers fine tuning", "errors/models.html", "trainable-after-compile"),
    ("trainable = False isn't working", "errors/models.html", "trainable-after-compile"),
    (
        "Is there a way to freeze the weights of a specific layer and fine-tune the network?",
        "errors/models.html",
        "trainable-after-compile",
    ),
    ("Trainable = False isn't freezing weights", "errors/models.html", "trainable-after-compile"),
    ("batch norm behaves differently at training and inference", "errors/models.html", "training-argument"),
    ("dropout not applied in subclassed model", "errors/models.html", "training-argument"),
    ("moving average of batchnorm not updated", "errors/models.html", "training-argument"),
    ("BatchNormalization update ops with gradient tape", "errors/models.html", "training-argument"),
    ("model.summary() shows zero parameters", "errors/models.html", "unbuilt-summary"),
    ("why output shape is ? in summary", "errors/models.html", "unbuilt-summary"),
    ("count parameters of subclassed model", "errors/models.html", "unbuilt-summary"),
    ("model.summary() can't print output shape while using subclass model", "errors/models.html", "unbuilt-summary"),
    ("weights not loaded load_weights", "errors/saving.html", "build-then-load-weights"),
    ("save weights only h5", "errors/saving.html", "build-then-load-weights"),
    (
        "Unable to load weights saved in HDF5 format into a subclassed Model which has not created its variables yet. "
        "Call the Model first, then load the weights.",
        "errors/saving.html",
        "build-then-load-weights",
    ),
    ("from_config", "errors/saving.html", "could-not-be-deserialized"),
    ("load_model unknown layer", "errors/saving.html", "could-not-locate-class"),
    ("custom_objects load_model", "errors/saving.html", "could-not-locate-class"),
    ("Loading a model with a custom layer: ValueError: Unknown layer", "errors/saving.html", "could-not-locate-class"),
    ("copy a layer deepcopy custom", "errors/saving.html", "could-not-locate-class"),
    ("keras.saving.register_keras_serializable", "saving/configs.html", "register"),
    ("get_config not implemented", "errors/saving.html", "non-serializable-arguments"),
    ("positional only or variadic positional arguments", "errors/saving.html", "non-serializable-arguments"),
    (
        "AttributeError: 'numpy.ufunc' object has no attribute 'item'",
        "errors/saving.html",
        "non-serializable-arguments",
    ),
    ("decorator() missing 1 required positional argument: 'arg'", "errors/saving.html", "non-serializable-arguments"),
    ("Custom Model Save with NotImplementedError Error", "errors/saving.html", "non-serializable-arguments"),
    ("model.save() returning a 'NotImplementedError'", "errors/saving.html", "non-serializable-arguments"),
    (
        "NotImplementedError: Layer CustomLayer has arguments in `__init__` and therefore must override `get_config`",
        "errors/saving.html",
        "non-serializable-arguments",
    ),
    ("Keras releases", "releases.html", ""),
    ("which version of tensorflow works with keras 3", "releases.html", ""),
    ("what changed in Keras 3.15", "releases.html", "what-changed-for-custom-code"),
    ("Keras 3.14", "releases.html", "what-changed-for-custom-code"),
    ("differences between keras 3.12 and 3.15", "releases.html", "what-changed-for-custom-code"),
]

# A message, whole or in part, as it is pasted: the entry that explains it is the first link.
SAID = [
    (
        "ValueError: The model provided has never called. It must be called at least once before export.",
        "errors/export.html",
        "never-called",
    ),
    ("custom softmax gives nan", "errors/models.html", "nan-of-your-own"),
    ("TypeError: Layer.add_weight() got multiple values for argument 'shape'", "errors/layers.html", "add-weight-name"),
    ("ValueError: Dimensions must be equal, but are 4 and 7", "errors/layers.html", "input-shape-axis"),
    (
        "ValueError: tuple arity mismatch; expected: 2, got: 1; tuple: ('accuracy',).",
        "errors/models.html",
        "metrics-arity",
    ),
    (
        (
            "For a model with multiple outputs, when providing the `metrics` argument as a list, it should have "
            "as many entries as the model has outputs."
        ),
        "errors/models.html",
        "metrics-arity",
    ),
    (
        (
            "ValueError: `name` must be passed as a keyword argument. Received: add_weight('scale', ...). Use: "
            "add_weight(shape=..., name='scale')."
        ),
        "errors/layers.html",
        "add-weight-name",
    ),
    (
        "`name` must be passed as a keyword argument. Received: add_weight('kernel'",
        "errors/layers.html",
        "add-weight-name",
    ),
    (
        ("ValueError: Cannot convert 'total' to a shape. Found invalid dimension 't' of type '<class 'str'>'."),
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
        (
            "ValueError: Shapes used to initialize variables must be fully-defined (no `None` dimensions). "
            "Received: shape=(None, 8)"
        ),
        "errors/layers.html",
        "input-shape-axis",
    ),
    ("Dimensions must be equal, but are 4 and 7", "errors/layers.html", "input-shape-axis"),
    ("trainable weights: 0", "errors/layers.html", "untracked-variable"),
    ("tf.Variable never trains", "errors/layers.html", "untracked-variable"),
    ("weights not training", "errors/layers.html", "untracked-variable"),
    ("ValueError: A KerasTensor cannot be used as input to a TensorFlow function", "errors/layers.html", "kerastensor"),
    (
        (
            "A KerasTensor cannot be used as input to a TensorFlow function. A KerasTensor is a symbolic "
            "placeholder for a shape and dtype, used when constructing Keras Functional models or Keras "
            "Functions. You can only use it as input to a Keras layer or a Keras operation (from the namespaces "
            "`keras.layers` and `keras.ops`)."
        ),
        "errors/layers.html",
        "kerastensor",
    ),
    ("KerasTensor", "errors/layers.html", "kerastensor"),
    (
        (
            "UserWarning: Layer 'scale' (of type Scale) was passed an input with a mask attached to it. However, "
            "this layer does not support masking and will therefore destroy the mask information. Downstream "
            "layers will not see the mask."
        ),
        "errors/layers.html",
        "mask-lost",
    ),
    (
        (
            "ValueError: You cannot add new elements of state (variables or sub-layers) to a layer that is "
            "already built. All state must be created in the `__init__()` method or in the `build()` method."
        ),
        "errors/layers.html",
        "state-created-late",
    ),
    (
        (
            "tf.function only supports singleton tf.Variables created on the first call. Make sure the "
            "tf.Variable is only created once or created outside tf.function."
        ),
        "errors/layers.html",
        "state-created-late",
    ),
    (
        ("OperatorNotAllowedInGraphError: Using a symbolic `tf.Tensor` as a Python `bool` is not allowed."),
        "errors/layers.html",
        "python-if-on-a-tensor",
    ),
    ("Iterating over a symbolic `tf.Tensor` is not allowed", "errors/layers.html", "python-if-on-a-tensor"),
    ("if statement on a tensor", "errors/layers.html", "python-if-on-a-tensor"),
    ("frozen layer still trains", "errors/models.html", "trainable-after-compile"),
    ("freeze a layer after compile", "errors/models.html", "trainable-after-compile"),
    ("layer.trainable = False", "errors/models.html", "trainable-after-compile"),
    (
        (
            "Invalid `metrics`. `metrics` should contain metrics objects and either be a dict or a list matching "
            "the output names of the functional model ['colour', 'shape'] or match the output structure of the "
            "model: ['X', 'X']."
        ),
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
        (
            "ValueError: Unknown layer: 'Doubled'. Please ensure you are using a "
            "`keras.utils.custom_object_scope` and that this object is included in the scope."
        ),
        "errors/saving.html",
        "could-not-locate-class",
    ),
    ("Unknown layer: 'Linear'", "errors/saving.html", "could-not-locate-class"),
    ("Could not *locate* class ~Doubled^", "errors/saving.html", "could-not-locate-class"),
    (
        (
            "Exception encountered: Could not locate class 'Doubled'. Make sure custom classes and functions are "
            "decorated with `@keras.saving.register_keras_serializable()`. If they are already decorated, make "
            "sure they are all imported so that the decorator is run before trying to load them."
        ),
        "errors/saving.html",
        "could-not-locate-class",
    ),
    (
        "<class 'keras.src.models.sequential.Sequential'> could not be deserialized properly",
        "errors/saving.html",
        "could-not-locate-class",
    ),
    (
        "TypeError: <class '__main__.Forecaster'> could not be deserialized properly",
        "errors/saving.html",
        "could-not-be-deserialized",
    ),
    ("Exception encountered: Unable to revive model from config", "errors/saving.html", "could-not-be-deserialized"),
    (
        (
            "Error encountered during deserialization: Forecaster.__init__() got an unexpected keyword argument "
            "'trainable'"
        ),
        "errors/layers.html",
        "init-kwargs",
    ),
    (
        (
            "NotImplementedError: Object Projector was created by passing non-serializable argument values in "
            "`__init__()`, and therefore the object must override `get_config()` in order to be serializable. "
            "Please implement `get_config()`."
        ),
        "errors/saving.html",
        "non-serializable-arguments",
    ),
    ("the object must override `get_config()`", "errors/saving.html", "non-serializable-arguments"),
    (
        (
            "ValueError: Layer 'scores' expected 2 variables, but received 0 variables during loading. Expected: "
            "['kernel', 'bias']"
        ),
        "errors/saving.html",
        "default-arguments-saved",
    ),
    (
        "Layer 'dense_3' expected 2 variables, but received 0 variables during loading.",
        "errors/saving.html",
        "default-arguments-saved",
    ),
    (
        (
            "ValueError: You are loading weights into a model that has not yet been built. Try building the "
            "model first by calling it on some data or by using `build()`."
        ),
        "errors/saving.html",
        "build-then-load-weights",
    ),
    (
        (
            "UserWarning: `build()` was called on layer 'encoder_1', however the layer does not have a `build()` "
            "method implemented and it looks like it has unbuilt state"
        ),
        "errors/saving.html",
        "build-then-load-weights",
    ),
    ("weights after loading: 0", "errors/saving.html", "build-then-load-weights"),
]

# What the site doesn't have: a question, the topic that the answer names, and the first link near it.
LACKS = [
    (
        "tie weights encoder decoder",
        "tied weights (an embedding or kernel used transposed)",
        "models/multiple_inputs_outputs.html#share-a-layer-between-inputs",
    ),
    ("causal mask", "transformer decoders and text", "tutorials/transformer.html"),
    ("U-Net", "image segmentation and object detection", "decisions/when_to_use.html#complex-architecture"),
    (
        "keras 2 to keras 3 migration",
        "migrating from Keras 2 to Keras 3 step by step",
        "layers/custom_layer.html#you-may-have-seen",
    ),
    ("tf.keras vs keras", "installing TensorFlow and import errors", "releases.html"),
    ("hyperparameter tuning", "hyperparameter tuning", "training/custom_optimizer.html"),
    ("keras tuner", "hyperparameter tuning", "training/custom_optimizer.html"),
    ("data augmentation", "data augmentation", "models/multiple_inputs_outputs.html#a-complete-program"),
    ("run on tpu", "training on a TPU", "training/several_devices.html"),
    ("GPU out of memory", "the memory of a GPU", "training/several_devices.html"),
    ("prune weights", "pruning", "models/custom_model.html#replace-a-layer"),
    ("quantization aware training", "quantization-aware training", "saving/smaller.html#range"),
    (
        "imagenet pretrained resnet",
        "transfer learning from keras.applications",
        "models/custom_model.html#replace-a-layer",
    ),
    ("reinforcement learning agent", "reinforcement learning", "training/training_loop.html"),
    ("pytorch backend", "the JAX and PyTorch backends", "releases.html"),
    ("jax", "the JAX and PyTorch backends", "releases.html"),
    (
        "tensorboard",
        "TensorBoard and experiment tracking",
        "decisions/when_to_use.html#choose-the-smallest-thing-that-does-it",
    ),
    ("LSTM cell custom", "recurrent layers and time series", "decisions/advantages.html#flexibility"),
    (
        "Keras hyperparameter optimisation",
        "hyperparameter tuning",
        "training/custom_optimizer.html",
    ),
    ("Grad cam for custom model", "Grad-CAM", "models/multiple_inputs_outputs.html#the-same-model-as-a-subclass"),
    ("coreml", "CoreML and other runtimes", "models/custom_model.html#save-and-load-it"),
    ("custom LSTM cell keras", "recurrent layers and time series", "decisions/advantages.html#flexibility"),
    ("tensorflow.keras could not be resolved", "installing TensorFlow and import errors", "releases.html"),
    ("reinforcement learning DQN replay buffer", "reinforcement learning", "training/training_loop.html"),
    ("run on TPU colab", "training on a TPU", "training/several_devices.html"),
    (
        "tensorboard profiler find slow op",
        "profiling",
        "decisions/disadvantages.html#potential-for-inefficiencies",
    ),
]

INPUT, LINKS = ".md-search__input", ".md-search-result__link"

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
  return seen.map(({ href }) => href.replace(root, ""));
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
            anchor = re.search(r"\{ #(\S+)[^}]* \}$", entry, re.MULTILINE)
            records = [match for match in INCLUDE.finditer(entry) if match["path"].endswith(".txt")]
            if anchor and records:
                section = sections(SITE.root / records[0]["path"])[records[0]["section"]]
                found[f"errors/{page.stem}.html#{anchor[1]}"] = section.text
    return found


MESSAGES = messages()

TRACEBACK = """\
Traceback (most recent call last):
  File "/home/me/project/train.py", line 41, in <module>
    main()
    ~~~~^^
  File "/home/me/project/train.py", line 37, in main
    history = model.fit(train_dataset, epochs=3, validation_data=test_dataset)
              ~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""" + "".join(
    f"""\
  File "/home/me/.venv/lib/python3.11/site-packages/keras/src/{file}.py", line {line}, in {function}
    {code}
"""
    for file, line, function, code in [
        ("utils/traceback_utils", 122, "error_handler", "raise e.with_traceback(filtered_tb) from None"),
        ("utils/traceback_utils", 117, "error_handler", "return fn(*args, **kwargs)"),
        ("backend/tensorflow/trainer", 377, "fit", "logs = self.train_function(iterator)"),
        ("backend/tensorflow/trainer", 220, "function", "opt_outputs = multi_step_on_iterator(iterator)"),
        ("backend/tensorflow/trainer", 133, "multi_step_on_iterator", "outputs = one_step_on_data(data)"),
        ("trainers/compile_utils", 690, "build", "losses = self._build_nested(y_true, y_pred, loss, current_path=())"),
        ("layers/layer", 908, "__call__", "self._maybe_build(call_spec)"),
        ("layers/layer", 1394, "_maybe_build", "backend.compute_output_spec(self.call, **call_spec.arguments_dict)"),
        ("saving/serialization_lib", 718, "deserialize_keras_object", "instance = cls.from_config(inner_config)"),
        ("ops/operation", 241, "from_config", "return cls(**config)"),
        ("models/model", 158, "__init__", "raise ValueError("),
    ]
)

NOTEBOOK = """\
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[12], line 3
      1 model = Model()
      2 model.compile(loss="mse", metrics=["mae"])
----> 3 model.fit(x, y, epochs=3)

File ~/.venv/lib/python3.11/site-packages/keras/src/utils/traceback_utils.py:122, in filter_traceback.<locals>.error_handler(*args, **kwargs)
    119     filtered_tb = _process_traceback_frames(e.__traceback__)
--> 122     raise e.with_traceback(filtered_tb) from None

"""  # noqa: E501


TITLES = "[...document.querySelectorAll('.md-search-result__item:first-child h1')].map((title) => title.textContent)"


def test_every_page_and_every_error_is_searched_for():
    entries = {
        (page.relative_to(SITE.docs).with_suffix(".html").as_posix(), anchor)
        for page in OF_ENTRIES
        for anchor in re.findall(r"^## .*\{ #(\S+)[^}]* \}$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert entries
    assert entries <= {(page, anchor) for _, page, anchor in SAID}
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


def missed(page: Page, rows: list[tuple[str, str, str]], links: int) -> list[str]:
    """The rows whose answer isn't among the first links."""
    found = {query: seen_for(page, query)[:links] for query in {query: None for query, _, _ in rows}}
    wanted = [(query, f"{path}#{anchor}".removesuffix("#")) for query, path, anchor in rows]
    return [f"{query!r}: {link} isn't in {found[query]}" for query, link in wanted if link not in found[query]]


def test_what_a_reader_asks_is_found(searching):
    assert not missed(searching, FINDS, 3)


def test_the_entry_of_a_message_comes_first(searching):
    assert not missed(searching, SAID, 1)


@pytest.mark.parametrize("above", ["", TRACEBACK, NOTEBOOK], ids=["message", "traceback", "notebook"])
def test_all_that_a_terminal_shows_is_found(searching, above):
    rows = [(above + text, *entry.split("#")) for entry, text in MESSAGES.items()]
    assert not missed(searching, rows, 1)


REVIVED = """\
TypeError: <class 'keras.src.models.sequential.Sequential'> could not be deserialized properly. Please ensure that \
components that are Python object instances (layers, models, etc.) returned by `get_config()` are explicitly \
deserialized in the model's `from_config()` method.

config={'module': 'keras', 'class_name': 'Sequential', 'config': {'name': 'sequential', 'layers': [{'module': None, \
'class_name': 'MyDense', 'config': {'units': 3, 'dtype': {'module': 'keras', 'class_name': 'DTypePolicy'}}}]}}.

Exception encountered: Could not locate class 'MyDense'. Make sure custom classes and functions are decorated with \
`@keras.saving.register_keras_serializable()`. If they are already decorated, make sure they are all imported so that \
the decorator is run before trying to load them. Full object config: {'module': None, 'class_name': 'MyDense'}
"""


def test_of_a_message_that_quotes_configs_the_last_paragraph_counts(searching):
    assert seen_for(searching, TRACEBACK + REVIVED)[0] == "errors/saving.html#could-not-locate-class"
    assert "doesn't have" not in str(searching.evaluate(TITLES))


@pytest.mark.parametrize(
    "forms",
    [
        ["regularize", "regularizing", "regularization", "regularisation", "regularizer"],
        ["freeze a layer", "freezing a layer", "frozen layers", "layer freezing"],
        ["clip gradients", "gradient clipping", "clipped gradients"],
        ["register a custom class", "registering custom classes", "registered custom class"],
        ["propagate a mask", "mask propagation", "propagating masks"],
        ["quantile loss", "quantile losses", "quantil loss", "qauntile loss"],
    ],
    ids=lambda forms: forms[0],
)
def test_the_forms_of_a_word_find_each_other(searching, forms):
    assert len({seen_for(searching, form)[0] for form in forms}) == 1


@pytest.mark.parametrize("word", ["regularization", "nan", "freeze", "siamese", "get_config"])
def test_what_every_page_is_about_weighs_little(searching, word):
    first = seen_for(searching, word)[0]
    assert first in seen_for(searching, f"how to {word} in a custom keras model")


def test_a_question_without_an_answer_is_told_so_and_what_is_near(searching):
    wrong = []
    for query, topic, near in LACKS:
        first, *_ = seen_for(searching, query)
        told = searching.evaluate(TITLES)
        if (told, first) != ([f"This site doesn't have {topic} yet. Near it:"], near):
            wrong.append(f"{query!r}: {told}, {first}")
    assert not wrong, "\n".join(wrong)
    for query in ("kubernetes", "<b>zebra</b>"):
        assert seen_for(searching, query)
        assert searching.evaluate(TITLES) == [
            f"This site doesn't have “{re.search('[a-z]{2,}', query)[0]}” yet. Near it:"
        ]
    assert seen_for(searching, "ValueError: The moon is made of green cheese. Received: moon=None")
    assert searching.evaluate(TITLES) == ["This site doesn't have this message yet. Near it:"]


def test_what_is_written_for_the_search_is_shown_to_nobody(built):
    index = json.loads((built / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    assert sum("search" in doc for doc in index) > 80
    lacking = {phrase.lower() for doc in index for row in doc.get("lacks", []) for phrase in row}
    assert len(lacking) > 100
    answered = {phrase.lower() for doc in index for phrase in (doc["title"], *doc.get("search", []))}
    assert not lacking & answered, "the site has it: delete it from its row `search lacks`"
    texts = [file for file in built.rglob("*") if file.suffix in (".html", ".md", ".txt", ".ipynb", ".py", ".xml")]
    assert len(texts) > 3 * len(ADDRESSES)
    assert not [file for file in texts if re.search(COMMENT, file.read_text(encoding="utf-8"))]


PHONES = {"viewport": PHONE, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize("device", [{"viewport": DESKTOP}, PHONES], ids=["desktop", "phone"])
def test_what_comes_without_a_key_is_searched_for(open_page, device):
    """Pasted from a menu, pasted over it, cut, dictated, cleared: the results are those of the text."""
    page = open_page(**device)
    result, meta = page.locator(LINKS), page.locator(".md-search-result__meta")
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
    page.locator(INPUT).select_text()
    paste(page, "quantile loss")
    expect(result.first).to_have_attribute("href", re.compile("training/custom_loss"))

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


SMALL = {"viewport": {"width": 768, "height": 1024}, "has_touch": True}


@pytest.mark.parametrize("device", [PHONES, SMALL, {"viewport": DESKTOP}], ids=["phone", "tablet", "desktop"])
@pytest.mark.parametrize("start", ["", "training/custom_optimizer.html"], ids=["another page", "the same page"])
def test_a_result_opens_at_its_section(open_page, device, start):
    """Wherever the reader was: the theme gives the page back its old place on small screens."""
    page = open_page(**device)
    page.goto(start)
    for opens in (
        lambda link: link.tap() if "has_touch" in device else link.click(),
        lambda link: page.keyboard.press("Enter"),
    ):
        page.evaluate("scrollTo(0, 700)")
        page.keyboard.press("/")
        page.locator(INPUT).fill("layer-wise learning rate")
        link = page.locator(f"{LINKS}[href$='custom_optimizer.html#layerwise']").first
        link.wait_for()
        opens(link)
        expect(page.locator("#layerwise")).to_be_in_viewport()
        page.wait_for_timeout(500)  # longer than the theme takes to unlock the page
        assert 0 < page.locator("#layerwise").bounding_box()["y"] < 150


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
    """And so is what answers from it."""
    fetched = []
    page.on("request", lambda request: fetched.extend(re.findall(r"search_index|rank\.js", request.url)))
    page.goto("layers/custom_layer.html", wait_until="networkidle")
    assert not fetched
    with page.expect_request("**/search_index.json"):
        touch(page)
    page.locator(INPUT).press_sequentially("could not locate class")
    page.locator(LINKS).first.wait_for()
    page.locator(LINKS).first.click()
    page.wait_for_url("**/*#*")
    assert sorted(fetched) == ["rank.js", "search_index"]


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
