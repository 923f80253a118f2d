"""The wordings of questions. `{s}`: a plural, `{a}`: a name with its article, `{x}`, `{y}`: names, `{n}`: which one."""

DESCRIBE = (
    "What do you see?", "What can you see?", "Describe the scene.", "Describe what you see.", "What is there?",
    "Describe the image.", "Describe the picture.", "Describe this image.", "Describe this picture.",
    "What is in this image?", "What is in the picture?", "What's in this picture?", "What is in the image?",
    "What is this?", "What is that?", "Tell me what you see.", "What is shown here?", "What does the image show?",
    "Describe this image in one sentence.", "Describe the scene in one sentence.", "Describe it.", "List the objects.",
    "What objects are there?", "Which objects do you see?", "What objects do you see?", "List all objects.",
    "Describe what you see in one short sentence.", "What is in front of you?", "What are you looking at?",
    "What do you see from left to right?", "Describe the scene from left to right.", "Name the objects.",
    "What things are in the picture?", "Describe the scene briefly.", "What is on the screen?", "Describe", "Look.",
    "Please describe the image in detail.", "What is going on here?", "What is happening?", "What is visible?",
)  # fmt: skip
COUNT_ALL = (
    "How many objects are there?", "How many objects do you see?", "How many things are there?", "Count the objects.",
    "How many objects are in the picture?", "How many objects are in the image?", "How many things do you see?",
    "How many objects can you see?", "How many objects?", "Count the things in the picture.", "How many are there?",
    "What is the number of objects?", "Count all objects.", "How many items are there?",
)  # fmt: skip
COUNT_KIND = (
    "How many {s} are there?", "How many {s} do you see?", "How many {s}?", "How many {s} are in the picture?",
    "Count the {s}.", "How many {s} can you see?", "How many {s} are in the image?", "What is the number of {s}?",
)  # fmt: skip
SIDES = {
    "left of": (
        "What is left of the {x}?", "What is to the left of the {x}?", "What's left of the {x}?",
        "What do you see left of the {x}?", "What is on the left of the {x}?", "What's to the left of the {x}?",
        "What is on the left side of the {x}?", "Which objects are left of the {x}?",
    ),
    "right of": (
        "What is right of the {x}?", "What is to the right of the {x}?", "What's right of the {x}?",
        "What do you see right of the {x}?", "What is on the right of the {x}?", "What's to the right of the {x}?",
        "What is on the right side of the {x}?", "Which objects are right of the {x}?",
    ),
    "above": (
        "What is above the {x}?", "What's above the {x}?", "What is over the {x}?", "What do you see above the {x}?",
        "What is on top of the {x}?", "Which objects are above the {x}?", "What is higher than the {x}?",
    ),
    "below": (
        "What is below the {x}?", "What's below the {x}?", "What is under the {x}?", "What do you see below the {x}?",
        "What is underneath the {x}?", "Which objects are below the {x}?", "What is lower than the {x}?",
    ),
}  # fmt: skip
EXTREMES = {
    "left": (
        "What is on the left?", "What is the leftmost object?", "Which object is on the far left?",
        "What is furthest left?", "What's on the left?", "What is on the left side?", "Name the leftmost object.",
    ),
    "right": (
        "What is on the right?", "What is the rightmost object?", "Which object is on the far right?",
        "What is furthest right?", "What's on the right?", "What is on the right side?", "Name the rightmost object.",
    ),
    "top": (
        "What is at the top?", "What is the topmost object?", "Which object is highest?", "What is on top?",
        "What's at the top?", "Name the highest object.", "What is at the top of the picture?",
    ),
    "bottom": (
        "What is at the bottom?", "What is the lowest object?", "Which object is lowest?", "What's at the bottom?",
        "What is at the bottom of the picture?", "Name the lowest object.", "What is the bottommost object?",
    ),
}  # fmt: skip
EXISTS = (
    "Is there {a}?", "Do you see {a}?", "Can you see {a}?", "Is there {a} in the picture?", "Is {a} in the picture?",
    "Is there {a} in the image?", "Is {a} there?", "Does the picture show {a}?", "Is {a} visible?",
    "Do you see {a} in this image?",
)  # fmt: skip
EXISTS_MANY = ("Are there any {s}?", "Are there {s}?", "Do you see any {s}?", "Can you see any {s}?")
COLOUR = (
    "What colour is the {x}?", "What color is the {x}?", "Which colour is the {x}?", "What is the color of the {x}?",
    "What is the colour of the {x}?", "Tell me the colour of the {x}.", "Which color does the {x} have?",
    "What colour does the {x} have?",
)  # fmt: skip
WHERE = (
    "Where is the {x}?", "Where's the {x}?", "Where do you see the {x}?", "In which part of the picture is the {x}?",
    "Where is the {x} in the image?", "Where can I find the {x}?",
)  # fmt: skip
NEW = (
    "What is new in the second picture?", "What is new in the second image?", "What is new?", "What was added?",
    "What is in the second picture but not in the first?", "What has been added?", "What appeared?",
    "Which object is new?", "What's new in the second image?", "What's new?",
)  # fmt: skip
GONE = (
    "What is missing in the second picture?", "What is missing in the second image?", "What is missing?",
    "What was removed?", "What is gone?", "What disappeared?", "Which object is missing?", "What has been removed?",
)  # fmt: skip
CHANGED = (
    "What has changed?", "What changed?", "What is different?", "What is the difference?", "Compare the two pictures.",
    "What is the difference between the pictures?", "What changed between the two images?", "Spot the difference.",
)  # fmt: skip
DESCRIBE_NTH = (
    "What do you see in the {n} picture?", "Describe the {n} picture.", "What is in the {n} image?",
    "Describe the {n} image.", "What is in the {n} picture?", "What does the {n} image show?",
)  # fmt: skip
COUNT_NTH = ("How many objects are in the {n} picture?", "How many objects are in the {n} image?")
DESCRIBE_BOTH = (
    "Describe both pictures.", "What do you see?", "Describe the pictures.", "Describe the images.",
    "Describe both images.", "What is in the pictures?", "What can you see?", "Describe what you see.",
)  # fmt: skip
MOVES = (
    "What moves?", "What is moving?", "Which object moves?", "What moves and which way?", "Does anything move?",
    "What is happening in the video?", "What happens in the video?", "What happens?", "What is happening?",
    "Which object is moving and in which direction?", "What moves in this clip?", "What is going on?",
    "What moves and in which direction?", "Is anything moving?", "Describe the motion.", "What moves in the video?",
)  # fmt: skip
WHICH_WAY = (
    "Which way does the {x} move?", "In which direction does the {x} move?", "Where does the {x} go?",
    "Which way is the {x} moving?", "Does the {x} move?", "How does the {x} move?", "Where is the {x} going?",
)  # fmt: skip
DESCRIBE_CLIP = (
    "Describe the video.", "What do you see?", "Describe the clip.", "Describe what you see.", "What is in the video?",
    "Describe this video.", "What does the video show?", "What can you see?", "Describe the scene.",
)  # fmt: skip
RELATION = ("Is the {x} {side} the {y}?", "Is the {x} {side} the {y} in the picture?")
#: Direction -> how it is said.
WAYS = {"left": "to the left", "right": "to the right", "up": "up", "down": "down"}
