"""The rows of weights as pictures: what each class looks for in an image."""

import numpy as np

from ._drawing import bare, check_image_shape, color_bar, diverging, many_axes, short, titles, to_images
from ._linear import take_apart


def input_coefficients(clf):
    """Coefficients of the scores for the inputs of a pipeline, carried back through its affine steps.

    With features A x + c made of inputs x, the scores coef (A x + c) + intercept have the coefficients coef A and the
    intercept coef c + intercept. Any affine steps will do: scalers, PCA, random projections, column selections.

    Parameters
    ----------
    clf : fitted linear classifier, or pipeline that ends with one
        A classifier alone has nothing to carry back.

    Returns
    -------
    coef : ndarray of shape (n_classes, n_inputs), or (1, n_inputs) for two classes
    intercept : ndarray of shape (n_classes,) or (1,)
        ``X @ coef.T + intercept`` is ``clf.decision_function(X)``.

    Raises
    ------
    TypeError
        If the classifier is not linear.
    ValueError
        If a step before the classifier is not affine.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from softmax_clf.inspection import input_coefficients
    >>> X, y = np.array([[0.0], [10.0], [20.0], [30.0]]), [0, 0, 1, 1]
    >>> clf = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> coef, intercept = input_coefficients(clf)
    >>> bool(np.allclose(X @ coef[0] + intercept, clf.decision_function(X)))
    True
    """
    linear = take_apart(clf, carry_back=True)
    return linear.coef, linear.intercept


class TemplateDisplay:
    """The weights of each class as an image: the template that an input is matched against.

    A score is the inner product of image and template, plus the intercept. All templates share one colour scale:
    grey images in red where a bright pixel speaks for the class and blue where it speaks against it; colour images
    with zero as mid-grey, and each channel brighter where more of it speaks for the class.

    Parameters
    ----------
    templates : ndarray of shape (n_outputs, H, W, C)
        C is 1 or 3; n_outputs is n_classes, or 1 for two classes.
    names : list of str
        What to write above each.

    Attributes
    ----------
    ax_ : ndarray of n_outputs matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    input_coefficients : The same numbers as rows.
    """

    def __init__(self, templates, names):
        self.templates = templates
        self.names = names

    @classmethod
    def from_estimator(cls, clf, *, image_shape, channels_first=False, class_names=None, ax=None, **options):
        """Take the templates of a classifier on pixels, or of a pipeline of affine steps that starts from pixels.

        Parameters
        ----------
        clf : fitted linear classifier or pipeline
        image_shape : tuple (H, W) or (H, W, C)
            Shape of the images whose pixels are the input; C is 1 or 3.
        channels_first : bool, default=False
            Whether pixels are stored plane by plane, as in CIFAR-10.
        class_names : list of n_classes str, default=None
            In the order of ``classes_``; None for the labels.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : TemplateDisplay

        Raises
        ------
        TypeError
            If the classifier is not linear.
        ValueError
            If a step is not affine, or image_shape does not fit.
        """
        linear = take_apart(clf, carry_back=True)
        shape = check_image_shape(image_shape, linear.coef.shape[1])
        templates = to_images(linear.coef, shape, channels_first)
        return cls(templates, linear.output_names(class_names)).plot(ax, **options)

    def plot(self, ax=None, *, limit=None, n_cols=5, colorbar=True):
        """Draw the templates.

        Parameters
        ----------
        ax : Axes or array-like of n_outputs Axes, default=None
            One is divided into panels; None makes a figure.
        limit : float, default=None
            The weight at the ends of the colour scale, the same for all templates; give one to compare two displays.
            None for the 98th percentile of the absolute values: pixels that hardly ever vary get huge weights from
            classifiers of standardised pixels, and would make all others pale.
        n_cols : int, default=5
            Most templates side by side.
        colorbar : bool, default=True
            Whether to draw the scale, which says how many weights lie beyond it.

        Returns
        -------
        self
        """
        axes = many_axes(self, ax, len(self.templates), (1.9, 2.1), n_cols)
        size = np.abs(self.templates)
        limit = limit or np.percentile(size, 98) or size.max() or 1.0
        grey = self.templates.shape[3] == 1
        for panel, template in zip(axes, self.templates, strict=True):
            if grey:
                panel.imshow(template[:, :, 0], cmap=diverging(panel), vmin=-limit, vmax=limit)
            else:
                panel.imshow(np.clip(0.5 + template / (2 * limit), 0, 1))
            bare(panel)
        titles(axes, map(short, self.names))
        if colorbar:
            label = "weight of a pixel" if grey else "weight of a colour"
            beyond = np.mean(size > limit)
            if beyond:
                label += f"\n{beyond:.1%} beyond, up to {size.max():.2g}"
            extend = "both" if beyond else "neither"
            color_bar(self, axes, limit, label, extend=extend, colors=None if grey else "gray")
        return self
