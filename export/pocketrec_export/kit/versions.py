"""Versions of the runtimes and tools that kits name, each as its registry had it on `LOOKED_UP`."""

LOOKED_UP = "2026-11-25"

LITERT_ANDROID = "2.3.0"
"""com.google.ai.edge.litert:litert, of October 2026 (mvnrepository.com)."""
ANDROID_MIN_SDK = 24
"""Least Android that its AARs declare."""
ANDROID_COMPILE_SDK = 36
ONNXRUNTIME_ANDROID = "1.27.0"
"""com.microsoft.onnxruntime:onnxruntime-android, of June 2026 (mvnrepository.com)."""
ONNXRUNTIME_SWIFT = "1.24.2"
"""microsoft/onnxruntime-swift-package-manager (swiftpackageindex.com)."""
ONNXRUNTIME_WEB = "1.30.0"
"""onnxruntime-web (npm)."""
LITERT_WEB = "2.5.3"
"""@litertjs/core (npm)."""
