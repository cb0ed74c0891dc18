// A detector that `densebone export --format onnx` wrote, in OpenCV alone: no Python, no Paddle, no ONNX Runtime.
//
//     g++ -O2 detect.cpp -o detect $(pkg-config --cflags --libs opencv5)
//     ./detect exported/birds picture.jpg
//
// It needs OpenCV 5, whose new DNN engine knows the operators of the decoding; OpenCV 4 refuses the file.

#include <cstdio>
#include <iostream>
#include <map>
#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

struct Prepared {
    cv::Mat image;      // float, three channels in RGB
    cv::Vec2f scale;    // y, x: prepared size over the picture's
    cv::Vec2f shape;    // height and width before padding
};

static cv::Scalar three(const cv::FileNode& node) { return {double(node[0]), double(node[1]), double(node[2])}; }

static cv::Mat row(const cv::Vec2f& values) { return cv::Mat(1, 2, CV_32F, const_cast<float*>(values.val)).clone(); }

// The steps of model_card.json, as docs/examples/detect.py takes them.
static Prepared prepare(cv::Mat image, const cv::FileNode& steps) {
    const std::map<std::string, int> methods{
        {"bilinear", cv::INTER_LINEAR}, {"bicubic", cv::INTER_CUBIC}, {"nearest", cv::INTER_NEAREST}};
    const float height = image.rows, width = image.cols;
    Prepared result{image, {1, 1}, {height, width}};
    for (const auto& step : steps) {
        const cv::FileNode given = *step.begin();
        const std::string name = given.name();
        if (name == "resize") {
            const float rows = int(given["size"][0]), columns = int(given["size"][1]);
            const int method = methods.at(std::string(given["interpolation"]));
            if (int(given["keep_ratio"])) {
                const double factor = std::min(std::min(rows, columns) / std::min(height, width),
                                               std::max(rows, columns) / std::max(height, width));
                cv::resize(result.image, result.image, {}, factor, factor, method);
                result.scale = {float(factor), float(factor)};
                result.shape = {float(height * factor), float(width * factor)};
            } else {
                cv::resize(result.image, result.image, {int(columns), int(rows)}, 0, 0, method);
                result.scale = {rows / height, columns / width};
                result.shape = {rows, columns};
            }
        } else if (name == "normalize") {
            result.image.convertTo(result.image, CV_32FC3, 1.0 / double(given["scale"]));
            cv::subtract(result.image, three(given["mean"]), result.image);
            cv::divide(result.image, three(given["std"]), result.image);
        } else if (name == "pad") {
            cv::Size size = result.image.size();
            if (!given["size"].empty()) {
                size = {int(given["size"][1]), int(given["size"][0])};
            } else {
                const int stride = int(given["stride"]);
                size = {(size.width + stride - 1) / stride * stride, (size.height + stride - 1) / stride * stride};
            }
            cv::copyMakeBorder(result.image, result.image, 0, size.height - result.image.rows, 0,
                               size.width - result.image.cols, cv::BORDER_CONSTANT);
        } else {
            throw std::runtime_error("this example does not know the step " + name);
        }
    }
    return result;
}

int main(int count, char** arguments) {
    if (count != 3) {
        std::cerr << "usage: detect FOLDER PICTURE\n";
        return 2;
    }
    const std::string folder = arguments[1];
    const cv::FileStorage card(folder + "/model_card.json", cv::FileStorage::READ);
    cv::Mat picture = cv::imread(arguments[2]);
    if (picture.empty() || !card.isOpened()) {
        std::cerr << "cannot read the picture or the card\n";
        return 2;
    }
    cv::cvtColor(picture, picture, cv::COLOR_BGR2RGB);
    const Prepared ready = prepare(picture, card["preprocessing"]["steps"]);

    cv::dnn::Net net = cv::dnn::readNetFromONNX(folder + "/model.onnx");
    net.setInput(cv::dnn::blobFromImage(ready.image), "image");
    net.setInput(row(ready.scale), "scale_factor");
    try {
        net.setInput(row(ready.shape), "im_shape");  // only heads that need it have it
    } catch (const cv::Exception&) {
    }
    std::vector<cv::Mat> found;
    net.forward(found, std::vector<cv::String>{"boxes", "scores", "labels", "count"});

    const cv::Mat boxes = found[0].reshape(1, {int(found[1].total()), 4});
    const float* scores = found[1].ptr<float>();
    const int64_t* labels = found[2].ptr<int64_t>();
    for (int place = 0; place < boxes.rows; ++place) {
        if (labels[place] < 0 || scores[place] < 0.5f) continue;
        const float* box = boxes.ptr<float>(place);
        std::printf("%s %.4f %.2f %.2f %.2f %.2f\n", std::string(card["classes"][int(labels[place])]).c_str(),
                    scores[place], box[0], box[1], box[2], box[3]);
    }
    return 0;
}
