"""What a detector scored, whatever the data set's metric."""


def metric_values(metrics):
    """AP (over IoU 0.50:0.95 for COCO, the metric's own for others) and AP50 in 0..1 of PaddleDetection's metrics.

    Both are 0 when the detector found nothing, which PaddleDetection reports as no result at all.
    """
    for metric in metrics:
        results = metric.get_results()
        for kind in ("bbox", "mask"):
            if kind in results and len(results[kind]):
                values = [float(value) for value in results[kind]]
                return {"AP": values[0], "AP50": values[1]} if len(values) > 1 else {"AP": values[0]}
    return {"AP": 0.0, "AP50": 0.0}
