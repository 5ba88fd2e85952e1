"""The names that a model file may refer to: Keras' own layers, operations, objects and functions that hold no code."""

from __future__ import annotations

# Kept as a list of names rather than "all of keras.layers": a layer that a later Keras adds is refused until someone
# has looked at what it does when it is loaded.
LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention AugMix
    AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose
    ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D Convolution2DTranspose
    Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D
    Discretization Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D
    GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization GroupQueryAttention HashedCrossing Hashing Identity InputLayer InputSpec
    IntegerLookup LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D
    MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp MultiHeadAttention Multiply
    Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
    RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
    ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D
    SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D
    SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization TimeDistributed UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)
APPLICATION_LAYERS = frozenset({"CustomScaleLayer", "LayerScale", "StochasticDepth"})  # ConvNeXt, Inception-ResNet
MODELS = frozenset({"Functional", "Model", "Sequential"})
POLICIES = frozenset(
    """
    AWQDTypePolicy DTypePolicy DTypePolicyMap FloatDTypePolicy GPTQDTypePolicy Int4DTypePolicy QuantizedDTypePolicy
    QuantizedFloat8DTypePolicy
    """.split()
)

CODE = {
    "Lambda": "runs Python code stored in the file",
    "__lambda__": "is Python code stored in the file",
    "TFSMLayer": "runs a SavedModel from a folder that the file names",
    "TorchModuleWrapper": "unpickles a PyTorch module, which can run code",
    "JaxLayer": "calls Python functions that the file names",
    "FlaxLayer": "calls Python methods that the file names",
    "__typespec__": "is rebuilt by a TensorFlow class that the file names",
    "TypeSpec": "is rebuilt by a TensorFlow class that the file names",
    "CompositeTensor": "is rebuilt by a TensorFlow class that the file names",
}
LOOKUPS = frozenset({"IndexLookup", "IntegerLookup", "StringLookup", "TextVectorization"})

# Values that Keras writes as a dict with a class name: data, no object is looked up for them.
VALUES = frozenset(
    {
        "TensorShape",
        "__bytes__",
        "__ellipsis__",
        "__keras_tensor__",
        "__numpy__",
        "__slice__",
        "__tensor__",
        "__tuple__",
    }
)
DTYPES = frozenset(
    """
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 bfloat16 complex64 complex128 string
    """.split()
)

# Operations that call a function given to them.
CONTROL_FLOW = frozenset(
    "AssociativeScan Cond ForiLoop Function Map Operation Scan Switch VectorizedMap WhileLoop".split()
)
OPERATIONS = frozenset(
    f"keras.src.ops.{module}" for module in ("core", "einops", "image", "linalg", "math", "nn", "numpy")
)
OBJECTS = frozenset(
    {"constraints", "dtype_policies", "initializers", "losses", "metrics", "optimizers", "quantizers", "regularizers"}
    | {"random"}
)
FUNCTIONS = frozenset({"activations", "constraints", "initializers", "losses", "metrics", "regularizers"})
LOOKED_UP = frozenset({"deserialize", "get", "serialize"})  # exported beside the functions above, but load objects


def is_builtin_class(module: str | None, name: str) -> bool:
    """Whether Keras itself defines this class and it can be loaded without running anything from the file."""
    if module is None:  # .h5 files name layers and models by class only
        return name in LAYERS | MODELS
    if module == "keras":
        return name in MODELS | POLICIES
    if module in OPERATIONS:
        return name[:1].isupper() and name not in CONTROL_FLOW
    room = keras_room(module)
    if room == "layers":
        return name in LAYERS
    if room == "applications":
        return name in APPLICATION_LAYERS
    if room == "models":
        return name in MODELS
    return room in OBJECTS and name[:1].isupper()  # a capital: the functions beside the classes are not meant here


def is_builtin_function(module: object, name: object) -> bool:
    """Whether this is one of Keras' activations, losses, metrics, initializers, regularizers or constraints."""
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    return keras_room(module) in FUNCTIONS and name.isidentifier() and name not in LOOKED_UP


def keras_room(module: str) -> str:
    """The part of Keras that a module is in: ``keras.src.layers.core.dense`` and ``keras.layers`` are in ``layers``."""
    parts = module.split(".")
    if parts[0] != "keras":
        return ""
    rest = parts[2:] if parts[1:2] == ["src"] else parts[1:]
    return rest[0] if rest else ""
