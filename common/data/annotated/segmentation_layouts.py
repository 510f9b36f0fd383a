"""What data.root holds for each set of label maps."""

from __future__ import annotations

VOC_LAYOUT = "VOCdevkit/VOC2012 with JPEGImages, SegmentationClass and ImageSets/Segmentation/{train,val}.txt"
AUGMENTED_LAYOUT = (
    f"{VOC_LAYOUT}, and in it SegmentationClassAug and ImageSets/Segmentation/train_aug.txt, or SBD's "
    f"benchmark_RELEASE/dataset beside VOCdevkit"
)
CITYSCAPES_LAYOUT = "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_labelIds.png"
ADE20K_LAYOUT = "ADEChallengeData2016 with images/{training,validation} and annotations/{training,validation}"
CAMVID_LAYOUT = "{train,val,test}.txt, a line 'IMAGE LABEL' each, and train, trainannot, val, valannot, test, testannot"
FOLDER_LAYOUT = "{train,val,test}/{images,labels}/NAME.*, labels PNGs of class numbers; classes.txt, a name a line"
