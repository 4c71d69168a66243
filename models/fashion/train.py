"""Train the small residual CNN on Fashion-MNIST and export it as int8 TFLite.

Not part of `make setup`: the result is committed. Needs its own virtual environment, because
tensorflow is 2 GB: `pip install tensorflow==2.21.0 tflite-micro`.
"""

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from models.fashion.data import augment, read_split
from models.fashion.idx import IdxError

HERE = Path(__file__).resolve().parent
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
INPUT_ZERO_POINT = -128  # with scale 1/255 an int8 input is the pixel minus 128
MAX_WEIGHT_BYTES = 24_576  # the budget this network is designed to
EXAMPLE = """example (from the root of the repository):
  apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb fmnist
  python -m models.fashion.train fmnist/usr/share/datasets/fashion-mnist
"""


def build_model(weight_decay):
    """Return the float network: two residual blocks, 16 channels at 14x14, 32 at 7x7.

    Each ADD takes the output of a convolution that nothing else reads, and the block's input,
    which is dead afterwards: a core can fuse the addition into that convolution, in place.
    """
    def conv(x, channels, relu=True):
        x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False,
                                kernel_regularizer=keras.regularizers.L2(weight_decay))(x)
        x = keras.layers.BatchNormalization(momentum=0.98)(x)
        return keras.layers.ReLU()(x) if relu else x

    def add(x, y):
        return keras.layers.ReLU()(keras.layers.Add()([x, y]))

    image = x = keras.Input((28, 28, 1))
    x = conv(x, 16)
    x = keras.layers.MaxPooling2D(2)(x)
    x = conv(x, 16)
    x = add(conv(conv(x, 16), 16, relu=False), x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = conv(x, 32)
    x = add(conv(x, 32, relu=False), x)
    x = keras.layers.AveragePooling2D(7)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(len(CLASSES), activation="softmax")(x))


def fit(model, images, labels, args):
    """Train in place: Adam, cosine decay to zero, smoothed labels, fresh augmentation per epoch."""
    rng = np.random.default_rng(args.seed)
    steps = args.epochs * -(-len(images) // args.batch)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(
                      0.0, steps - steps // 20, warmup_target=args.rate,
                      warmup_steps=steps // 20)),
                  keras.losses.CategoricalCrossentropy(label_smoothing=0.05), metrics=["accuracy"])
    targets = np.eye(len(CLASSES), dtype=np.float32)[labels]
    for epoch in range(args.epochs):
        order = rng.permutation(len(images))
        start = time.time()
        history = model.fit(augment(images[order], rng), targets[order], args.batch,
                            verbose=0, shuffle=False).history
        print(f"epoch {epoch + 1}/{args.epochs}: loss {history['loss'][0]:.4f}, "
              f"accuracy {history['accuracy'][0]:.4f}, {time.time() - start:.0f} s", flush=True)


def convert(model, images):
    """Return the int8 .tflite bytes, calibrated on images [N, 28, 28, 1]; batch is fixed at 1."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False,
                     input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32)])
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


def quantize(images):
    """Return images [N, 28, 28, 1] in 0..1 as the int8 the network's input wants."""
    return (np.rint(images * 255) + INPUT_ZERO_POINT).astype(np.int8)


def int8_accuracy(content, images, labels):
    """Return the share of right answers of TensorFlow Lite Micro's int8 kernels, 0..1."""
    from tflite_micro import runtime
    interpreter = runtime.Interpreter.from_bytes(content)
    right = 0
    for image, label in zip(quantize(images), labels, strict=True):
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_output(0)) == label)
    return right / len(images)


def weight_bytes(content):
    """Return the bytes of all constant int8 tensors of a .tflite."""
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    written = {int(i) for op in interpreter._get_ops_details() for i in op["outputs"]}
    written |= {detail["index"] for detail in interpreter.get_input_details()}
    return sum(int(np.prod(detail["shape"])) for detail in interpreter.get_tensor_details()
               if detail["dtype"] is np.int8 and detail["index"] not in written)


def parse_args(argv):
    """Return the arguments; --help prints the example."""
    parser = argparse.ArgumentParser(
        prog="python -m models.fashion.train", description=__doc__, epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the four *-ubyte.gz files")
    parser.add_argument("-o", "--output", type=Path, default=HERE, help="folder to write into")
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-3, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=1e-4, help="L2 on convolution weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=200, help="test images to ship")
    return parser.parse_args(argv)


def main(argv=None):
    """Train, export, measure; return the exit code."""
    args = parse_args(argv)
    try:
        images, labels = read_split(args.data, "train")
        test_images, test_labels = read_split(args.data, "t10k")
    except IdxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keras.utils.set_random_seed(args.seed)
    tf.config.experimental.enable_op_determinism()
    model = build_model(args.decay)
    start = time.time()
    fit(model, images, labels, args)
    minutes = (time.time() - start) / 60
    float_right = np.argmax(model.predict(test_images, 500, verbose=0), axis=1) == test_labels
    content = convert(model, images[:1000])
    size = weight_bytes(content)
    assert size <= MAX_WEIGHT_BYTES, size
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "fashion.tflite").write_bytes(content)
    np.save(args.output / "images.npy", quantize(test_images[:args.samples]))
    np.save(args.output / "labels.npy", test_labels[:args.samples])
    (args.output / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    print(f"seed {args.seed}, {args.epochs} epochs, {minutes:.1f} minutes, "
          f"python {platform.python_version()}, tensorflow {tf.__version__}, "
          f"keras {keras.__version__}, numpy {np.__version__}")
    print(f"{len(content)} bytes, {size} of them int8 weights")
    print(f"float accuracy {float_right.mean():.4f}, "
          f"int8 accuracy {int8_accuracy(content, test_images, test_labels):.4f} "
          f"on {len(test_images)} test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
